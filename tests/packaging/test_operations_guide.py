"""What the guide and the packaging tell people to write is what the programs take."""

import re
import shlex
from pathlib import Path

import pytest

from whisper_router.api.key_file import load_keys
from whisper_router.api.keys import hash_key
from whisper_router.settings import Settings
from whisper_router.settings_sources import load_settings

ROOT = Path(__file__).parents[2]
DEFAULTS = Settings.model_construct()
GUIDE = ROOT / "docs" / "operations.md"
PACKAGING = [
    GUIDE,
    ROOT / "Containerfile",
    *sorted(path for path in (ROOT / "systemd").rglob("*") if path.is_file()),
]


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the guide in `language`, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", GUIDE.read_text(), re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def is_setting(dotted: str) -> bool:
    """Return whether `section.key` is a setting."""
    section, key = dotted.split(".")
    return hasattr(getattr(DEFAULTS, section, None), key)


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_example_of_settings_loads(tmp_path, text):
    """An example that the server refuses would be worse than none."""
    config = tmp_path / "router.toml"
    config.write_text(text)

    if text.startswith("[keys."):
        config.write_text(text.replace("sha256:...", hash_key("a-key")))
        assert [key.limits.requests_per_minute for key in load_keys(config)] == [60]
        return
    assert load_settings(config) != Settings()


@pytest.mark.parametrize("path", PACKAGING, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path):
    """A misspelt variable keeps the server from starting."""
    variables = re.findall(r"WHISPER_ROUTER__([A-Z_]+?)__([A-Z_]+)", path.read_text())

    assert [f"{a}.{b}" for a, b in variables if not is_setting(f"{a}.{b}".lower())] == []


@pytest.mark.parametrize("path", PACKAGING, ids=lambda path: path.name)
def test_every_dotted_name_is_a_setting(path):
    """`section.key` of a section that exists, anywhere in the text."""
    sections = "|".join(name for name in Settings.model_fields if name != "models")
    names = re.findall(rf"(?<![\w./-])(?:{sections})\.[a-z_]+\b", path.read_text())

    assert [name for name in names if not is_setting(name)] == []


def test_every_file_that_the_guide_names_is_there():
    """Paths into the repository, as people copy them."""
    text = GUIDE.read_text()
    named = set(re.findall(r"(?<![\w/-])((?:systemd/|drop-ins/)[\w./-]+\w)", text))
    links = set(re.findall(r"\]\(([\w./-]+\.md)", text))
    shared = set(re.findall(r"share/whisper-router/((?:systemd|config)/[\w./-]+\w)", text))
    places = [
        *(ROOT / name for name in named if name.startswith("systemd/")),
        *(ROOT / "systemd" / name for name in named if name.startswith("drop-ins/")),
        *(ROOT / "docs" / name for name in links),
        *(ROOT / name for name in shared),
    ]

    assert len(places) > 6
    assert [str(path) for path in places if not path.exists()] == []


def test_every_drop_in_is_explained():
    """A file that nobody is told of helps nobody."""
    text = GUIDE.read_text()
    drop_ins = [path.name for path in (ROOT / "systemd" / "drop-ins").iterdir()]

    assert drop_ins
    assert [name for name in drop_ins if f"`drop-ins/{name}`" not in text] == []


def test_every_shell_example_can_be_read_by_a_shell():
    """Quotes are closed."""
    examples = blocks("sh")

    assert len(examples) > 8
    for text in examples:
        assert shlex.split(text, comments=True)
