"""How the workers that are forked from one process share its cores."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

PLACES = 1024
"""Entries of the table, of 4 bytes each. A worker's is its process id modulo this number."""


class Crew:
    """Who computes at this moment, in memory that workers share which are forked later.

    A chunk that is alone gets all cores; several get an equal part each. The number of threads is
    fixed while whisper.cpp computes, so until the chunk that came first has ended there are a few
    threads too many.
    """

    def __init__(self, *, cores: int) -> None:
        self._cores = cores
        self._table = memoryview(mmap.mmap(-1, 4 * PLACES)).cast("i")

    @contextmanager
    def at_work(self) -> Iterator[int]:
        """Count this process as computing until the block ends; get the threads it may use."""
        place = os.getpid() % PLACES
        self._table[place] = os.getpid()
        try:
            # Another worker may clear our entry while it looks for those of the dead.
            yield max(1, self._cores // max(1, self._computing()))
        finally:
            if self._table[place] == os.getpid():
                self._table[place] = 0

    def _computing(self) -> int:
        """Return how many compute. One that was killed meanwhile left its entry, which goes."""
        group, count = os.getpgrp(), 0
        for place, pid in enumerate(self._table):
            if pid == 0:
                continue
            if _is_in(group, pid):
                count += 1
            else:
                self._table[place] = 0
        return count


def _is_in(group: int, pid: int) -> bool:
    """Tell whether a process lives and is of this group, as all workers of one process are."""
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False
