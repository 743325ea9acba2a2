# pathlib would take longer to import than all of this to start
# ruff: noqa: PTH104, PTH110, PTH123
"""A program that speaks whisper.cpp's worker protocol and hears what its script says.

    scripted_worker.py SCRIPT SOCKET [BEGUN GO]

With BEGUN and GO it first writes its pid to the one and waits until the other exists.
SCRIPT is a JSON file: a list with one item for each order, the last one for all further ones:

    cut            how many seconds of "speech" one segment holds (1)
    crash_after    ends itself with SIGSEGV once it has sent so many segments
    killed_after   the same with SIGKILL, as somebody else would
    exit_after     exits with code 3 once it has sent so many segments
    garble_after   sends a line that is no JSON once it has sent so many segments
    hang_after     does nothing more once it has sent so many segments; its pid is then a line of
                   SCRIPT.hung
    mute           does not even say that it has begun
    refuse         answers that the audio is refused

Second N of the audio holds the word ` wN`. Orders are counted and kept in SCRIPT.orders, one line
of JSON each, over all the lives of the program.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import time

SAMPLE_RATE_HZ = 16_000
ENDS = {
    "crash_after": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed_after": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit_after": lambda: os._exit(3),
}


def main():
    script, address, *gate = sys.argv[1:]
    if gate:
        wait_at(*gate)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    while True:
        peer, _ = listener.accept()
        with contextlib.suppress(OSError), peer:  # who leaves need not hear the rest
            answer(peer, script)


def wait_at(begun, go):
    with open(begun + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(begun + ".new", begun)
    while not os.path.exists(go):
        time.sleep(0.005)


def exit_at_end_of_stdin():
    while os.read(0, 4096):
        pass
    os._exit(0)


def answer(peer, script):
    head, body = read_request(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
    if head.startswith(b"GET /health"):
        send(peer, {"accelerator": "cpu", "languages": ["en"], "details": {}})
    else:
        transcribe(peer, json.loads(body), plan_of(script, body))


def read_request(peer):
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += peer.recv(65536)
    return head, body


def plan_of(script, body):
    """Note the order and return what the script says about it."""
    with open(script + ".orders", "ab+") as orders:
        orders.seek(0)
        number = len(orders.read().splitlines())
        orders.write(body + b"\n")
    with open(script) as file:
        plans = json.load(file)
    return plans[min(number, len(plans) - 1)] | {"script": script}


def transcribe(peer, order, plan):
    if plan.get("mute"):
        signal.pause()
    send(peer, {"event": "started", "pid": os.getpid()})
    if plan.get("refuse"):
        send(peer, {"event": "error", "code": "rejected", "message": "no", "param": None})
        return
    send(peer, {"event": "language", "code": order["language"] or "en", "probability": 1.0})
    for number, segment in enumerate(segments(order, plan.get("cut", 1))):
        misbehave(plan, number)
        if plan.get("garble_after") == number:
            peer.sendall(b'{"event": "segment", "start": nan(0x1)}\n')
        send(peer, segment)
    misbehave(plan, number + 1)
    send(peer, {"event": "done"})


def misbehave(plan, sent):
    for habit, end in ENDS.items():
        if plan.get(habit) == sent:
            time.sleep(0.05)  # what was sent is read before the connection breaks
            end()
    if plan.get("hang_after") == sent:
        with open(plan["script"] + ".hung", "a") as hung:
            hung.write(f"{os.getpid()}\n")
        signal.pause()


def segments(order, cut):
    first, last = (round(order[edge] / SAMPLE_RATE_HZ) for edge in ("start", "end"))
    for begin in range(first, last, cut):
        end = min(begin + cut, last)
        yield {
            "event": "segment",
            "start": begin - first,
            "end": end - first,
            "text": "".join(f" w{second}" for second in range(begin, end)),
            "tokens": [],
            "words": [],
            "logprobs": [],
            "seek": 0.0,
            "temperature": 0.0,
            "avg_logprob": 0.0,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
        }


def send(peer, event):
    peer.sendall(json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main()
