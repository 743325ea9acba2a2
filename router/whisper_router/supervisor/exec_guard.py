"""A program, not a module: ties the program that it becomes to the life of the router.

    python -I -S exec_guard.py ROUTER_PID FILES PROGRAM [ARGUMENT…]

It asks the kernel to be killed when its parent dies, sets its soft limit of descriptors to FILES
(-: as it is), then becomes PROGRAM. Doing this between
fork and exec (`preexec_fn`) is not safe in a process with threads; a program of its own is, and
costs some 15 ms. See prctl(2), PR_SET_PDEATHSIG: it is kept across exec, lost across fork, and
is about the *thread* that forked, which here is the main thread of the router.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(router_pid: int, files: str, argv: list[str]) -> None:
    """Never returns: becomes `argv`, or exits 126 or 127 as a shell does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != router_pid:
        sys.exit(1)  # it died before the kernel was asked
    if files != "-":
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), hard))
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - there is no shell in this, that is the point
    except OSError as error:
        sys.stderr.write(f"error: cannot run '{argv[0]}': {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
