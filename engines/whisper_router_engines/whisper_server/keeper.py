"""Runs a whisper-server: `python -m whisper_router_engines.whisper_server.keeper`.

    … --model FILE --share-of-cores N -- PROGRAM [ARGUMENT…]

whisper-server reads no stdin, so it would outlive a router that is killed; it exits with 0 when it
does not know a flag; and what it says of a file that is no model does not name the file. This
program looks at the file first, starts the server with `-m FILE`, ends it when its own stdin ends
or SIGTERM comes, and passes on how it ended, never as 0 unless it was asked to end.
"""

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from whisper_router_engines.whispercpp.cores import physical_cores
from whisper_router_engines.whispercpp.ggml import ModelFileError, check_model_file
from whisper_router_engines.whispercpp.prefork import die_with_parent

CANNOT_SERVE = 1
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""What a shell answers for a program that it cannot run (POSIX sh, 2.8.2)."""
SHELL_SIGNAL_BASE = 128
STOP_GRACE_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code. Failures are one `error: ` line on stderr."""
    args = _parse(sys.argv[1:] if arguments is None else arguments)
    die_with_parent()
    try:
        check_model_file(args.model)
    except (ModelFileError, OSError) as error:
        return _failed(str(error), CANNOT_SERVE)
    command = [*args.command, "-m", str(args.model)]
    if args.share_of_cores:
        command += ["-t", str(max(1, physical_cores() // args.share_of_cores))]
    with Wakeup() as wakeup:
        try:
            program = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                preexec_fn=_tie_to(os.getpid()),  # noqa: PLW1509 - there are no threads here
            )
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            return _failed(f"cannot run '{command[0]}' (option `binary`): {error.strerror}", code)
        return keep(program, wakeup)


def keep(program: "subprocess.Popen[bytes]", wakeup: "Wakeup") -> int:
    """Wait until the program ends or is to end; return what to exit with."""
    while program.poll() is None:
        if not wakeup.wait():
            _end(program)
            return 0
    if program.returncode < 0:
        return SHELL_SIGNAL_BASE - program.returncode
    if program.returncode == 0:
        # Not as an error line: its own, before this one, says why.
        print("whisper-server ended by itself with exit code 0", file=sys.stderr)  # noqa: T201
        return CANNOT_SERVE
    return program.returncode


class Wakeup:
    """Sleeps until a signal comes or stdin ends, without a gap between looking and sleeping."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._is_asked = False

    def __enter__(self) -> "Wakeup":
        """Listen to SIGCHLD and SIGTERM."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self) -> bool:
        """Return True after any signal, False once this process is to end."""
        ready, _, _ = select.select([0, self._reader], [], [])
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        if 0 in ready and not os.read(0, 4096):
            self._is_asked = True
        return not self._is_asked

    def _ask(self, *_: object) -> None:
        self._is_asked = True


def _end(program: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, a little time, SIGKILL. A second SIGTERM ends whisper-server at once."""
    program.terminate()
    try:
        program.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _tie_to(keeper: int) -> Callable[[], None]:
    def tie() -> None:
        die_with_parent()
        if os.getppid() != keeper:  # it died before the kernel was asked
            os._exit(CANNOT_SERVE)

    return tie


def _failed(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)  # noqa: T201
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--share-of-cores", type=int, default=0)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
