"""How much memory an upload costs the process that spools it.

python tests/bench/bench_upload_memory.py [MIB ...]
"""

import asyncio
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.audio_client import MIB, big_upload, exchange, server_process


async def main(sizes_mib: list[int]) -> None:
    """Print a table: one line per upload, all to the same server."""
    print(f"{platform.machine()}, Python {platform.python_version()}")
    print(f"{'upload':>10} {'time':>8} {'rate':>12} {'peak':>10} {'grown':>10}")
    with (
        tempfile.TemporaryDirectory() as root,
        server_process(Path(root), limit_bytes=2 * max(sizes_mib) * MIB) as port,
    ):
        _status, first = await exchange(port, big_upload(0))
        for size_mib in sizes_mib:
            began = time.perf_counter()
            status, got = await exchange(port, big_upload(size_mib))
            took_s = time.perf_counter() - began
            assert (status, got["size"]) == (200, size_mib * MIB)
            peak, grown = got["peak_bytes"], got["peak_bytes"] - first["peak_bytes"]
            print(
                f"{size_mib:>6} MiB {took_s:>6.2f} s {size_mib / took_s:>6.0f} MiB/s "
                f"{peak / MIB:>6.1f} MiB {grown / MIB:>6.1f} MiB"
            )


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [1, 64, 500]))
