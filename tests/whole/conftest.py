"""One server for all tests that only use it, and the bundled samples."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from support.server import running_server

DEMO = Path(str(files("whisper_router_engines.whispercpp") / "demo"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with the demo model as default."""
    config = 'default_model = "demo"\n[models.two-workers]\nmodel = "demo"\nworkers = 2\n'
    with running_server(tmp_path_factory.mktemp("server"), config=config) as running:
        yield running


@pytest.fixture(scope="session")
def samples():
    """The bundled samples by file name, each with its path."""
    listed = json.loads((DEMO / "samples.json").read_text(encoding="utf-8"))
    return {
        sample["file"]: {**sample, "path": DEMO / "samples" / sample["file"]} for sample in listed
    }
