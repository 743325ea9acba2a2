"""Run parts of the worker program that a CPU-only Linux machine does not choose by itself.

usage: whispercpp_modes.py copies|alone|starter WORKER-ARGUMENTS...
       whispercpp_modes.py crashing|failing SOCKET [COMMAND...]
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from whisper_router_engines.whispercpp import worker
from whisper_router_engines.whispercpp.ends import Ends
from whisper_router_engines.whispercpp.prefork import (
    Accepted,
    CrashLoopError,
    Keeper,
    StartError,
    fork_worker,
)

mode, arguments = sys.argv[1], sys.argv[2:]
if mode == "copies":
    worker._keep_copies(worker._parse(arguments))
elif mode == "alone":
    args = worker._parse(arguments)
    worker._serve_alone(args, json.loads(args.options), None)
elif mode == "crashing":
    try:
        Keeper(
            count=2,
            start=lambda: fork_worker(os.abort),
            accepted=Accepted(),
            ends=Ends(Path(arguments[0])),
        ).run()
    except CrashLoopError as error:
        print(error, flush=True)
elif mode == "failing":
    try:
        Keeper(
            count=2,
            start=lambda: os.posix_spawn(arguments[1], arguments[1:], os.environ),
            accepted=Accepted(),
            ends=Ends(Path(arguments[0])),
            fatal=frozenset({worker.CANNOT_SERVE}),
        ).run()
    except StartError:
        print("start error", flush=True)
elif mode == "starter":
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE)
    print(child.pid, flush=True)
    signal.pause()
os._exit(0)
