"""Which aliases administrators see: asked of the router itself."""

import pytest

from support.in_process import settings_in
from whisper_router.app import build_router
from whisper_router.control import Control
from whisper_router.errors import ModelNotFound
from whisper_router.settings_sources import redacted


@pytest.fixture
async def control(tmp_path):
    """Of a router with one alias beside the bundled model."""
    async with build_router(
        settings_in(tmp_path, default_model="mine", models={"mine": {"model": "demo"}})
    ) as router:
        yield Control(router)


async def test_a_preset_is_shown_once_it_was_used(control):
    """There are dozens of them."""
    assert [status.alias for status in await control.statuses()] == ["mine"]
    await control.pool("demo").warm()
    assert [s.alias for s in await control.statuses()] == ["mine", "demo"]


async def test_figures_of_an_alias_begin_before_its_first_start(control):
    """A counter that appears with its first failure tells Prometheus of none."""
    assert {alias: brief.crashes for alias, brief in control.briefs().items()} == {"mine": 0}


async def test_names_are_those_that_requests_use(control):
    """Whatever an OpenAI client calls the default model, it is one pool."""
    assert control.pool("gpt-4o-transcribe") is control.pool("mine")
    with pytest.raises(ModelNotFound):
        control.pool("nobody")


async def test_the_configuration_is_plain_data(control):
    """Ready for JSON."""
    found = control.config()
    assert found["models"] == {"mine": found["models"]["mine"]}
    assert isinstance(found["server"], dict)


def test_options_of_engines_that_are_called_like_secrets_are_not_shown():
    """The settings do not know them; numbers are none."""
    options = {"api_key": "sk-1", "headers": {"auth_token": "x"}, "max_context_tokens": 224}
    assert redacted("", options) == {
        "api_key": "**********",
        "headers": {"auth_token": "**********"},
        "max_context_tokens": 224,
    }
