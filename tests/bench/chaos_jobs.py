"""Fifty jobs while the router is killed again and again.

Usage: chaos_jobs.py [--jobs N] [--seed N]
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.job_chaos import run_jobs


def main() -> int:
    """Print what was done; 1 when a job was lost, wrong, or run again where it was stored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        report = asyncio.run(
            run_jobs(Path(name), jobs=arguments.jobs, seed=arguments.seed, pause_s=(1.0, 8.0))
        )
    print("\n".join(report.lines()))
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
