"""A media worker: decodes files and finds speech, one job at a time, until its stdin ends.

Jobs come as JSON lines on stdin, events go as JSON lines to stdout: `ready` once, then for each job
`heard` after every block of audio, with the speech that was found in it if that was asked for, and
`decoded` at its end; or `error`. Whoever starts the program watches the time and may kill it at any
moment.

    python -m whisper_router.audio.media_worker --memory-bytes 1073741824 --max-duration-s 3600
"""

import argparse
import ctypes
import errno
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import av.logging
import numpy as np

from whisper_router.audio.decode import decode
from whisper_router.audio.media import MIB, Encoding, PcmFormat, VadOptions
from whisper_router.audio.spans import BLOCK, WINDOW
from whisper_router.audio.vad import Floats, Listening, SpeechDetector
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import AudioRejected, MediaFailed, RouterError, StorageFull

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

Event = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program. It never returns: it exits when its stdin ends."""
    parser = argparse.ArgumentParser(prog="media_worker")
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--max-duration-s", type=float, required=True)
    options = parser.parse_args(arguments)
    events = _claim_stdout()
    _die_with_parent()
    jobs = _start_reader()
    av.logging.set_level(None)
    detector = SpeechDetector()
    # Its first run allocates; the sound must be more than silence.
    Listening(detector, VadOptions()).probabilities(np.ones(WINDOW, dtype=np.float32))
    _set_limits(options.memory_bytes)
    tell = partial(_send, events)
    worker = _Worker(detector, options, tell)
    tell({"event": "ready", "pid": os.getpid()})
    while True:
        worker.run(json.loads(jobs.get()))


class _Worker:
    """Turns jobs into events."""

    def __init__(
        self, detector: SpeechDetector, options: argparse.Namespace, tell: Callable[[Event], None]
    ) -> None:
        self._detector, self._tell = detector, tell
        self._memory_bytes: int = options.memory_bytes
        self._max_duration_s: float = options.max_duration_s

    def run(self, job: Mapping[str, Any]) -> None:
        """Do the job and tell its events."""
        try:
            self._decode(job)
        except RouterError as error:
            self._tell(_error(error))
        except MemoryError:
            limit_mib = self._memory_bytes // MIB
            self._tell(
                _error(AudioRejected(f"The file needs more than {limit_mib} MiB to decode."))
            )
        except OSError as error:
            self._tell(_error(_storage_error(error)))
        except Exception as error:  # noqa: BLE001 -- one odd file must not end the worker
            traceback.print_exc()
            message = f"The file could not be decoded: {type(error).__name__}."
            self._tell(_error(MediaFailed(message)))

    def _decode(self, job: Mapping[str, Any]) -> None:
        vad = job["vad"]
        listening = None if vad is None else Listening(self._detector, VadOptions(**vad))
        ear = _Ear(listening, self._tell)
        decoded = decode(
            Path(job["source"]),
            Path(job["target"]),
            pcm=_pcm(job["pcm"]),
            max_duration_s=self._max_duration_s,
            listener=ear,
            levels=None if job["levels"] is None else Path(job["levels"]),
        )
        ear.end(decoded.duration_s)
        self._tell(
            {
                "event": "decoded",
                "samples": decoded.samples,
                "codec": decoded.codec,
                "sample_rate_hz": decoded.sample_rate_hz,
                "channels": decoded.channels,
            }
        )


class _Ear:
    """Tells what is heard in each block."""

    def __init__(self, listening: Listening | None, tell: Callable[[Event], None]) -> None:
        self._listening, self._tell = listening, tell
        self._expected_s: float | None = None
        self._samples = 0

    def begin(self, expected_s: float | None) -> None:
        """Note the length that the file claims."""
        self._expected_s = expected_s

    def hear(self, block: Floats) -> None:
        """Listen to a block and tell what is settled.

        A shorter block is the last. Its last window is padded, so what was found is told once the
        true end is known.
        """
        if self._listening is not None:
            self._listening.hear(block)
        self._samples += len(block)
        if len(block) == BLOCK:
            self._tell_found()

    def end(self, duration_s: float) -> None:
        """Tell what only the end of the audio has settled."""
        if self._listening is not None:
            self._listening.spans.end(duration_s)
        self._tell_found()

    def _tell_found(self) -> None:
        found = None if self._listening is None else asdict(self._listening.spans.found())
        decoded_s = self._samples / SAMPLE_RATE_HZ
        event = {"event": "heard", "decoded_s": decoded_s, "expected_s": self._expected_s}
        self._tell({**event, "found": found})


def _pcm(job: Mapping[str, Any] | None) -> PcmFormat | None:
    if job is None:
        return None
    return PcmFormat(
        encoding=Encoding(job["encoding"]), rate_hz=job["rate_hz"], channels=job["channels"]
    )


def _error(error: RouterError) -> Event:
    return {"event": "error", "code": error.code, "message": str(error)}


def _storage_error(error: OSError) -> RouterError:
    if error.errno in _NO_SPACE:
        return StorageFull("There is no room on the server's disk for the decoded audio.")
    return MediaFailed(f"The file could not be read or written: {error.strerror}.")


def _send(events: TextIO, event: Event) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _claim_stdout() -> TextIO:
    """Keep stdout for events; what a library prints goes to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _start_reader() -> "queue.SimpleQueue[str]":
    """Read stdin in a thread, so that its end stops the program in the middle of a job too."""
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            jobs.put(line)
        os._exit(0)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return jobs


def _die_with_parent() -> None:
    """Ask Linux for SIGKILL when the parent goes; elsewhere the end of stdin is the only sign."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _set_limits(memory_bytes: int) -> None:
    for kind, limit in ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        wanted = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (wanted, hard))


if __name__ == "__main__":
    main()
