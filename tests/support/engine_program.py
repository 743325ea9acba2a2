# pathlib would take longer to import than all of this to start
# ruff: noqa: PTH104, PTH110, PTH123
"""A real engine program with bad habits, small enough to start in some 20 ms.

    engine_program.py [FLAG…] ADDRESS          ADDRESS is a Unix socket's path or a TCP port

It serves HTTP: GET /health answers `{"pid": …}`; GET /transcribe answers a line of JSON and, with
--hold FILE, only once FILE exists. Without --deaf it exits at the end of its stdin.

--ignore-sigterm        SIGTERM does nothing
--deaf                  neither does the end of stdin
--exit-at-once CODE     exits before it listens
--say TEXT              prints TEXT on stderr first (an escape like \\n is understood)
--exit-after-say CODE   exits after saying it
--unless FILE           exits with 1 before it listens, unless FILE exists
--short-of-memory PID   says that memory ran out, and exits with 1, while there is a process PID
--raise-signal NUMBER   ends itself by a signal before it listens
--hang                  never listens, does nothing
--spin                  never listens, computes for ever
--slow-start SECONDS    prints a line every 50 ms for so long before it listens
--quiet-start SECONDS   sleeps silently for so long before it listens
--wait-for FILE         listens once FILE exists
--unready               listens, but never says that it is ready
--flood-stderr          prints without end
--grandchild FILE       starts a child of its own in its group, whose pid goes to FILE
--escaped-grandchild FILE   the same in a session of its own
--anonymous-grandchild FILE in its group, but without the environment by which we know our own
--lost-grandchild FILE  without either
--die-after COUNT       exits with code 9 when it has answered COUNT requests to /transcribe
--die-in-transcribe     ends itself with SIGSEGV in the middle of an answer
--leak MIB              keeps so much memory for each answer to /transcribe
--listen-elsewhere      listens on another port than it was told
--share-port            listens with SO_REUSEPORT
"""

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time

LEAKED = []
ANSWER = b'{"text": " hello"}\n'


class Flags:
    """What the command line asks for."""

    def __init__(self, arguments):
        self._arguments = arguments

    def has(self, name):
        return name in self._arguments

    def value(self, name):
        if not self.has(name):
            return None
        return self._arguments[self._arguments.index(name) + 1]


def main():
    flags = Flags(sys.argv[1:-1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if flags.has("--ignore-sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not flags.has("--deaf"):
        threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
    begin(flags)
    serve(flags, sys.argv[-1])


def exit_at_end_of_stdin():
    while os.read(0, 4096):
        pass
    os._exit(0)


def begin(flags):
    start_grandchildren(flags)
    if flags.has("--say"):
        say(flags.value("--say").encode("latin-1").decode("unicode_escape").encode("latin-1"))
    for name in ("--exit-at-once", "--exit-after-say"):
        if flags.has(name):
            os._exit(int(flags.value(name)))
    if flags.has("--short-of-memory") and os.path.exists(
        f"/proc/{flags.value('--short-of-memory')}"
    ):
        print("ggml_cuda: cudaMalloc failed: out of memory", file=sys.stderr, flush=True)
        sys.exit(1)
    if flags.has("--unless") and not os.path.exists(flags.value("--unless")):
        os._exit(1)
    if flags.has("--raise-signal"):
        signal.signal(int(flags.value("--raise-signal")), signal.SIG_DFL)
        os.kill(os.getpid(), int(flags.value("--raise-signal")))
    if flags.has("--flood-stderr"):
        threading.Thread(target=flood, daemon=True).start()
    take_time(flags)


def start_grandchildren(flags):
    for name in (
        "--grandchild",
        "--escaped-grandchild",
        "--anonymous-grandchild",
        "--lost-grandchild",
    ):
        if flags.has(name):
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if name in ("--escaped-grandchild", "--lost-grandchild"):
                    os.setsid()
                if name in ("--anonymous-grandchild", "--lost-grandchild"):
                    os.execve("/bin/sleep", ["sleep", "300"], {})
                time.sleep(300)
                os._exit(0)
            write_whole(flags.value(name), str(pid))


def take_time(flags):
    if flags.has("--hang"):
        time.sleep(300)
    while flags.has("--spin"):
        pass
    if flags.has("--slow-start"):
        end = time.monotonic() + float(flags.value("--slow-start"))
        while time.monotonic() < end:
            say(b"loading\r")
            time.sleep(0.05)
    if flags.has("--quiet-start"):
        time.sleep(float(flags.value("--quiet-start")))
    if flags.has("--wait-for"):
        wait_for_file(flags.value("--wait-for"))


def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def write_whole(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def say(data):
    os.write(2, data)


def flood():
    while True:
        say(b"noise " * 1000 + b"\xff\n")


def serve(flags, address):
    listener = listen(flags, address)
    answered = 0
    while True:
        peer, _ = listener.accept()
        with contextlib.suppress(OSError), peer:
            if answer(peer, flags):
                answered += 1
        if flags.has("--die-after") and answered == int(flags.value("--die-after")):
            os._exit(9)


def listen(flags, address):
    if not address.isdigit():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if flags.has("--share-port"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = 0 if flags.has("--listen-elsewhere") else int(address)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            say(b"cannot bind\n")
            os._exit(1)
    listener.listen(64)
    return listener


def answer(peer, flags):
    head = read_head(peer)
    if head.startswith(b"GET /health"):
        status = b"503 Loading" if flags.has("--unready") else b"200 OK"
        reply(peer, status, b'{"pid": %d}\n' % os.getpid())
        return False
    if flags.has("--die-in-transcribe"):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        os.kill(os.getpid(), signal.SIGSEGV)
    if flags.has("--leak"):
        LEAKED.append(b"x" * (int(flags.value("--leak")) << 20))
    if flags.has("--hold"):
        wait_for_file(flags.value("--hold"))
    reply(peer, b"200 OK", ANSWER)
    return True


def read_head(peer):
    head = b""
    while b"\r\n\r\n" not in head:
        data = peer.recv(65536)
        if not data:
            break
        head += data
    return head


def reply(peer, status, body):
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    peer.sendall(head + body)


if __name__ == "__main__":
    main()
