"""A router that is killed with SIGKILL while it loads and serves: what is left of it?

Usage: chaos_router.py [--kills N] [--seed N]
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.router_kills import GONE_S, kill_once, left_after_next_start


def main() -> int:
    """Print the counts; 1 when anything is left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        deaths = [kill_once(Path(name), dice=dice) for _ in range(arguments.kills)]
        left = left_after_next_start(Path(name))
    orphans = sum(death.orphans for death in deaths)
    print(f"routers killed                          {len(deaths)}")
    print(f"after (earliest, latest), s             {min(d.after_s for d in deaths):.2f}", end=" ")
    print(f"{max(d.after_s for d in deaths):.2f}")
    print(f"engines and media workers they had      {sum(d.children for d in deaths)}")
    print(f"of those alive {GONE_S:g} s later                {orphans}")
    print(f"sockets and spool files after a start   {len(left)}")
    for path in left:
        print(f"LEFT {path}")
    return 1 if orphans or left else 0


if __name__ == "__main__":
    sys.exit(main())
