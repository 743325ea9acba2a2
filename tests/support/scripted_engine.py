"""The whispercpp engine over `scripted_worker.py`, which hears and fails as a test tells it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from whisper_router.engine_api import Endpoint, Launch
from whisper_router_engines.whispercpp.engine import WhisperCpp

PROGRAM = Path(__file__).with_name("scripted_worker.py")


class ScriptedEngine(WhisperCpp):
    """Its "model" is the script."""

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
        argv = (sys.executable, "-I", "-S", str(PROGRAM), str(model), str(endpoint.socket))
        return Launch(argv=argv)


class GatedEngine(ScriptedEngine):
    """Writes its pid to `begun` when it starts and serves once `go` exists."""

    def __init__(self, *, begun: Path, go: Path) -> None:
        self._gate = (str(begun), str(go))

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
        return Launch(argv=(*super().launch(model, options, endpoint).argv, *self._gate))


def write_script(path: Path, plans: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(plans))
    return path


def orders(script: Path) -> list[dict[str, Any]]:
    """Return every order that the program was given."""
    text = Path(f"{script}.orders").read_text()
    return [json.loads(line) for line in text.splitlines()]


async def hung(script: Path, count: int) -> int:
    """Return the pid of the process that is the `count`-th to hang, once it does."""
    path = Path(f"{script}.hung")
    while not path.exists() or len(path.read_text().splitlines()) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)  # another process sets no event
    return int(path.read_text().splitlines()[count - 1])
