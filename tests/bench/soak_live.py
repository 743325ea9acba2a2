"""Live sessions for half an hour, with clients that come and go as they like.

Usage: soak_live.py [--minutes N] [--sessions N] [--seed N]
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.live_soak import soak


def main() -> int:
    """Print a row for each minute; 1 when something was lost, was left or has grown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        soaked = asyncio.run(
            soak(
                Path(name),
                seed=arguments.seed,
                rounds=arguments.minutes,
                round_s=60.0,
                sessions=arguments.sessions,
                show=lambda line: print(line, flush=True),
            )
        )
    print("\n".join(soaked.summary()))
    return 1 if soaked.broken else 0


if __name__ == "__main__":
    sys.exit(main())
