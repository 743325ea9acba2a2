"""A media worker: decodes files and finds speech, one job at a time, until its stdin ends.

Jobs come as JSON lines on stdin, events go as JSON lines to stdout: `ready` once, then for each
job `decoded` and, if it was asked for, `speech`; or `error` in place of either. Whoever starts the
program watches the time and may kill it at any moment.

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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import av.logging
import numpy as np

from whisper_router.audio.decode import decode
from whisper_router.audio.media import MIB, Encoding, PcmFormat, VadOptions
from whisper_router.audio.vad import WINDOW, SpeechDetector
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
    detector.probabilities(np.zeros(WINDOW, dtype=np.float32))  # its first run allocates
    _set_limits(options.memory_bytes)
    worker = _Worker(detector, options)
    _send(events, {"event": "ready", "pid": os.getpid()})
    while True:
        for event in worker.run(json.loads(jobs.get())):
            _send(events, event)


class _Worker:
    """Turns jobs into events."""

    def __init__(self, detector: SpeechDetector, options: argparse.Namespace) -> None:
        self._detector = detector
        self._memory_bytes: int = options.memory_bytes
        self._max_duration_s: float = options.max_duration_s

    def run(self, job: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the job's events."""
        try:
            yield self._decode(job)
            if job["vad"] is not None:
                yield self._find_speech(job)
        except RouterError as error:
            yield _error(error)
        except MemoryError:
            limit_mib = self._memory_bytes // MIB
            yield _error(AudioRejected(f"The file needs more than {limit_mib} MiB to decode."))
        except OSError as error:
            yield _error(_storage_error(error))
        except Exception as error:  # noqa: BLE001 -- one odd file must not end the worker
            traceback.print_exc()
            yield _error(MediaFailed(f"The file could not be decoded: {type(error).__name__}."))

    def _decode(self, job: Mapping[str, Any]) -> Event:
        decoded = decode(
            Path(job["source"]),
            Path(job["target"]),
            pcm=_pcm(job["pcm"]),
            max_duration_s=self._max_duration_s,
        )
        return {
            "event": "decoded",
            "samples": decoded.samples,
            "codec": decoded.codec,
            "sample_rate_hz": decoded.sample_rate_hz,
            "channels": decoded.channels,
        }

    def _find_speech(self, job: Mapping[str, Any]) -> Event:
        samples = np.memmap(job["target"], dtype=np.float32, mode="r")
        spans = self._detector.speech(samples, VadOptions(**job["vad"]))
        return {"event": "speech", "spans": [(span.start_s, span.end_s) for span in spans]}


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
