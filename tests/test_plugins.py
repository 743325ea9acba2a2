"""Engines are found by entry point, and a bad plugin is named."""

import re
import sys
from pathlib import Path

import pytest

from whisper_router.errors import ConfigurationError
from whisper_router.plugins import GROUP, load_alignments, load_diarizations, load_engines


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with these entry points, as pip lays it out."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, **entry_points: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}" for key, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))

    yield install
    sys.modules.pop("throw_away_plugin", None)


def write_plugin(directory: Path) -> None:
    (directory / "throw_away_plugin.py").write_text(
        "class Mine:\n    name = 'mine'\n\nclass Rival:\n    name = 'whispercpp'\n"
    )


def test_the_built_in_engine_comes_through_the_same_door():
    """Nothing but its entry point names it."""
    assert load_engines()["whispercpp"].name == "whispercpp"


def test_so_do_the_plugins_of_the_other_stages():
    """Each stage has a group of its own."""
    assert load_alignments().keys() >= {"dtw", "none"}
    assert load_diarizations()["channels"].needs_levels


def test_an_installed_plugin_is_found(install, tmp_path):
    """No change to the router."""
    write_plugin(tmp_path)
    install("mine", mine="throw_away_plugin:Mine")
    assert {"mine", "whispercpp"} <= load_engines().keys()


@pytest.mark.parametrize(
    ("entry_points", "message"),
    [
        ({"mine": "throw_away_plugin:Other"}, "'mine' (throw_away_plugin:Other) cannot be loaded"),
        ({"mine": "no_such_module_at_all:Mine"}, "No module named 'no_such_module_at_all'"),
        ({"yours": "throw_away_plugin:Mine"}, "'yours' (throw_away_plugin:Mine) calls itself 'mi"),
        ({"whispercpp": "throw_away_plugin:Rival"}, "two plugins provide the engine 'whispercpp'"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named(install, tmp_path, entry_points, message):
    """At start, with its entry point."""
    write_plugin(tmp_path)
    install("bad", **entry_points)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_engines()
