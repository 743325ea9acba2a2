"""Everything goes wrong: killed and frozen processes, a full disk, no model, jumping clocks.

Usage: chaos_mixed.py [--minutes N] [--seed N] [--clients N] [--log FILE]

A gremlin goes through a shuffled deck of deeds, again and again, while clients send speech and
some of them go away. Every request must be answered once, with the right text or an error that
something which was done explains; only a router that was killed may owe an answer. In between
there are quiet moments: nothing may be left over then.

The router's wall clock jumps where there is a C compiler. To fill the spool's disk it must be a
small one: where this user may mount nothing, the script runs itself again in a name space of its
own.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.mixed_chaos import mixed_chaos

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def main() -> int:
    """Print what was done and what came of it; 1 when a rule was broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--log", type=Path, help="file to append the routers' logs to")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing is left behind then either
    _become_able_to_mount(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        report = asyncio.run(
            mixed_chaos(
                Path(name),
                seed=arguments.seed,
                seconds=60 * arguments.minutes,
                clients=arguments.clients,
                log=arguments.log,
            )
        )
    print("\n".join(report.lines()))
    return 1 if report.broken else 0


def _become_able_to_mount(seed: int) -> None:
    """Go on as the root of a name space of our own, if that is allowed and needed."""
    if os.geteuid() == 0 or subprocess.run([*NAMESPACE, "true"], check=False).returncode:
        return
    command = [*NAMESPACE, sys.executable, *sys.argv, "--seed", str(seed)]
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
