"""Tables of the configuration. The whole of it: test_settings.py."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from whisper_router.api.deps import Dialect
from whisper_router.engine_sections import ModelSettings
from whisper_router.section import Section
from whisper_router.sections import DialectSettings, ServerSettings, WyomingSettings
from whisper_router.settings import Settings

SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def test_lists_may_be_written_as_one_text():
    """As environment variables must."""
    assert ServerSettings(cors_origins="https://a, https://b").cors_origins == (
        "https://a",
        "https://b",
    )
    assert DialectSettings(enabled="whisperx, speaches").enabled == (
        Dialect.WHISPERX,
        Dialect.SPEACHES,
    )
    assert DialectSettings(enabled=()).enabled == ()


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (ModelSettings, {"model": "tiny", "url": "http://a"}),
        (ModelSettings, {"repo": "a/b"}),
        (WyomingSettings, {"uri": "udp://127.0.0.1:1"}),
        (ServerSettings, {"tls_cert": "/a.pem"}),
        (ServerSettings, {"tls_key": "/a.pem"}),
        (ServerSettings, {"trusted_proxies": ["proxy.example"]}),
        (ServerSettings, {"trusted_proxies": ["10.0.0.1/8"]}),
        (ServerSettings, {"max_connections": 0}),
        (ServerSettings, {"max_connections": "all"}),
        (DialectSettings, {"enabled": ("klingon",)}),
        (ServerSettings, {"prot": 1}),
    ],
)
def test_what_makes_no_sense_is_refused(table, values):
    with pytest.raises(ValidationError):
        table(**values)


def test_other_keys_of_a_model_are_its_engines():
    assert ModelSettings(model="tiny", workers=2).options == {"workers": 2}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_is_in_the_reference(name: str):
    """With all of its options."""
    root = Path(__file__).parents[1]
    reference = (root / "docs" / "configuration.md").read_text("utf-8")
    _, begin, rest = reference.partition(f"<!-- table: {name} -->\n")
    assert begin
    assert f"## [{name}]\n" in reference
    table, end, _ = rest.partition("<!-- end -->")
    assert end
    for option in SECTIONS[name].model_fields:
        assert f"| `{option}` |" in table
