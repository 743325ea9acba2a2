"""Every installed engine passes the suite that plugin authors run."""

import json
from pathlib import Path

import pytest

from whisper_router.plugins import load_engines
from whisper_router.testing.conformance import Subject, SupervisedEngineConformance


def bundled_subject(name: str) -> Subject:
    """Test an engine with the model and a sample that come with it."""
    engine = load_engines()[name]
    model = next(iter(engine.bundled_models().values()))
    sample = json.loads((model.parent / "samples.json").read_text())[0]
    return Subject(
        engine=engine,
        model=model,
        speech=model.parent / "samples" / sample["file"],
        language=sample["language"],
        text=sample["text"],
    )


class TestInstalledEngines(SupervisedEngineConformance):
    """The suite, once for each engine."""

    @pytest.fixture(params=sorted(load_engines()))
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return bundled_subject(request.param)


@pytest.mark.parametrize("name", sorted(load_engines()))
def test_bundled_models_are_there(name: str) -> None:
    """An alias that comes with a plugin can be served without a download."""
    models = load_engines()[name].bundled_models()
    assert all(Path(path).is_file() for path in models.values())
