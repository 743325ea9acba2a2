"""Every engine with a process passes the suite that plugin authors run.

The one without runs it in `upstream/test_engine.py`.
"""

import json
from pathlib import Path

import pytest

from whisper_router.engine_api import RemoteEngine
from whisper_router.plugins import load_engines
from whisper_router.testing.conformance import Subject, SupervisedEngineConformance

ENGINES = load_engines()
SUPERVISED = sorted(
    name for name, engine in ENGINES.items() if not isinstance(engine, RemoteEngine)
)
MODEL = ENGINES["whispercpp"].bundled_models()["demo"]


class TestInstalledEngines(SupervisedEngineConformance):
    """The suite, once for each engine, with the model and a sample that come with one of them."""

    @pytest.fixture(params=SUPERVISED)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        options = {}
        if request.param == "whisper_server":
            options["binary"] = str(request.getfixturevalue("whisper_server_binary"))
        sample = json.loads((MODEL.parent / "samples.json").read_text())[0]
        return Subject(
            engine=ENGINES[request.param],
            model=MODEL,
            speech=MODEL.parent / "samples" / sample["file"],
            language=sample["language"],
            text=sample["text"],
            options=options,
        )


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_bundled_models_are_there(name: str) -> None:
    """An alias that comes with a plugin can be served without a download."""
    models = ENGINES[name].bundled_models()
    assert all(Path(path).is_file() for path in models.values())
