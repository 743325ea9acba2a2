"""A router in small, to be killed: orphaning_router.py RUN_DIR READY_FILE [ENGINE FLAG…].

It supervises one engine program and writes the engine's pid to READY_FILE once it serves.
"""

import asyncio
import sys
from pathlib import Path

from program_engine import ProgramEngine, ProgramOptions

from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks


async def no_model() -> Path:
    return Path("/dev/null")


async def main(run_dir: Path, ready: Path, flags: tuple[str, ...]) -> None:
    spec = PoolSpec(
        alias="test",
        engine=ProgramEngine(),
        options=ProgramOptions(flags=flags),
        model=no_model,
        supervision=SupervisionOptions(
            start_silence_s=20, start_limit_s=60, stop_grace_s=5, idle_unload_s=None
        ),
    )
    supervisor = Supervisor([spec], run_dir=run_dir, tasks=Tasks())
    await supervisor.open()
    async with supervisor.pool("test").lease() as lease:
        draft = ready.with_suffix(".new")
        draft.write_text(str(lease.pid))
        draft.rename(ready)
        await asyncio.sleep(300)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:])))
