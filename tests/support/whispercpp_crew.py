"""Print, as a JSON list, the threads that a worker of a crew of 4 cores gets.

First alone, then beside one that computes, then once that one was killed, then beside five.
"""

import json
import os
import signal

from whisper_router_engines.whispercpp.crew import Crew
from whisper_router_engines.whispercpp.prefork import fork_worker

crew = Crew(cores=4)
reading, writing = os.pipe()


def compute() -> None:
    with crew.at_work():
        os.write(writing, b"x")
        signal.pause()


def another() -> int:
    pid = fork_worker(compute)
    os.read(reading, 1)  # it computes now
    return pid


def threads() -> int:
    with crew.at_work() as allowed:
        return allowed


def end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


said = [threads()]
others = [another()]
said.append(threads())
end(others)
said.append(threads())
others = [another() for _ in range(5)]
said.append(threads())
end(others)
print(json.dumps(said), flush=True)
