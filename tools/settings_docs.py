"""Writes or checks what is generated from the settings: config/router.toml and Markdown tables.

Usage: settings_docs.py --write | --check
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from whisper_router.engine_sections import ModelSettings
from whisper_router.plugins import load_engines
from whisper_router.section import Section
from whisper_router.settings import Settings
from whisper_router.settings_sources import load_settings

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "router.toml"
REFERENCE, ENGINES = ROOT / "docs" / "configuration.md", ROOT / "docs" / "engines.md"
LAST_SECTION = "## [models.NAME]"

EXAMPLES = {
    "spool_dir": '"/dev/shm/whisper-router"',
    "api_key": '"a-long-random-text"',
    "keys_file": '"/etc/whisper-router/keys.toml"',
    "usage_file": '"/var/lib/whisper-router/usage.sqlite"',
    "audit.file": '"/var/log/whisper-router/audit.jsonl"',
    "log_file": '"/var/log/whisper-router/router.log"',
    "tls_cert": '"/etc/whisper-router/tls/fullchain.pem"',
    "tls_key": '"/etc/whisper-router/tls/privkey.pem"',
    "store.directory": '"/var/lib/whisper-router/models"',
    "jobs.directory": '"/var/lib/whisper-router/jobs"',
    "endpoint": '"https://huggingface.co"',
    "token": '"hf_..."',
    "model": '"small"',
    "repo": '"ggerganov/whisper.cpp"',
    "file": '"ggml-small.bin"',
    "url": '"https://example.org/ggml-small.bin"',
    "sha256": f'"{"0" * 64}"',
    "path": '"/srv/models/ggml-small.bin"',
    "idle_unload_s": "600.0",
    "max_requests": "1000",
    "max_sessions": "4",
    "max_rss_growth": '"512MiB"',
    "memory_bytes": '"2GiB"',
}

HEADER = """\
# whisper-router: every option with its default, commented out.
# Options without a default show an example. Sizes may be written as text: "25MiB".
# Written by `make docs`; `whisper-router config check` tells what is wrong with an edited copy.
"""

ALIASES = """
# One table per alias, the model name in a request. With none, `whisper-1` is the catalogue's
# `small`, every model of the catalogue is an alias by its own name, and `demo` is the small model
# that comes with the package. Options of the engine stand in the same table (docs/engines.md).
#
# [models.whisper-1]
# model = "small"
# workers = 2
#
# [models.best]
# model = "large-v3-turbo-q5_0"
# idle_unload_s = 0
"""


def main() -> int:
    """Write or check; 1 when something is out of date."""
    parser = argparse.ArgumentParser()
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    write = parser.parse_args().write
    stale = []
    for path, text in generated():
        if write:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
    for name in stale:
        print(f"{name} does not match the settings: run `make docs`", file=sys.stderr)
    check_configuration_loads()
    return 1 if stale else 0


def generated() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with the text it should have."""
    yield CONFIG, HEADER + "\n".join(config_lines()) + "\n" + ALIASES
    yield REFERENCE, fill_tables(with_sections(REFERENCE.read_text(encoding="utf-8")))
    yield ENGINES, fill_tables(ENGINES.read_text(encoding="utf-8"))


def sections() -> Iterator[tuple[str, type[Section], str]]:
    """Yield name, model and description of every table of the configuration."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation, field.description or ""


def config_lines() -> Iterator[str]:
    """Yield the lines of config/router.toml."""
    yield ""
    yield from option_lines("default_model", Settings.model_fields["default_model"])
    for name, section, description in sections():
        yield f"\n[{name}]  # {description}"
        for key, field in section.model_fields.items():
            yield from option_lines(key, field, section=name)


def option_lines(key: str, field: FieldInfo, *, section: str = "") -> Iterator[str]:
    """Yield the description as a comment, then the option."""
    for line in (field.description or "").splitlines():
        yield f"# {line}"
    yield f"#{key} = {toml_value(key, field, section=section)}"


def toml_value(key: str, field: FieldInfo, *, section: str = "") -> str:
    """Return the default in TOML, or an example where there is none."""
    value: Any = field.get_default()
    if value is None:
        return EXAMPLES.get(f"{section}.{key}") or EXAMPLES[key]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, ByteSize):
        return f'"{value.human_readable()}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"'


def with_sections(text: str) -> str:
    """Return the reference with a place for each section that has none yet, before the models."""
    before, heading, after = text.partition(LAST_SECTION)
    assert heading, f"docs/configuration.md has no {LAST_SECTION}"
    for name, _, description in sections():
        if f"<!-- table: {name} -->" not in text:
            before += f"## [{name}]\n{description}\n\n<!-- table: {name} -->\n<!-- end -->\n\n"
    return before + heading + after


def fill_tables(text: str) -> str:
    """Replace what stands between `<!-- table: NAME -->` and `<!-- end -->`."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{markdown(match[1])}\n<!-- end -->"

    return re.sub(r"<!-- table: (\S+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def markdown(name: str) -> str:
    """Return the Markdown table of a section, of `models`, or of `engine:NAME`."""
    model: type[BaseModel]
    if name.startswith("engine:"):
        model = load_engines()[name.removeprefix("engine:")].Options
    elif name == "models":
        model = ModelSettings
    else:
        model = {key: section for key, section, _ in sections()}[name]
    rows = ["| option | default | meaning |", "|---|---|---|"]
    own = model.__annotations__  # before what it shares with others
    for key, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in own):
        value = None if field.is_required() else field.get_default()
        shown = "" if value is None else f"`{toml_value(key, field)}`"
        rows.append(f"| `{key}` | {shown} | {' '.join((field.description or '').split())} |")
    return "\n".join(rows)


def check_configuration_loads() -> None:
    """Load config/router.toml as it is, and with every option uncommented.

    Raises:
        ConfigurationError: one of them does not load.
        AssertionError: an option is missing, or a default in the file is not the default.
    """
    load_settings(CONFIG)
    for path in sorted((ROOT / "config").glob("*.toml")):
        load_settings(path)
    uncommented = re.sub(r"^#(?=\w+ =)", "", CONFIG.read_text(encoding="utf-8"), flags=re.MULTILINE)
    table = tomllib.loads(uncommented)
    for name, section, _ in sections():
        missing = section.model_fields.keys() ^ table[name].keys()
        assert not missing, f"config/router.toml [{name}]: {missing}"
        loaded = section.model_validate(table[name])
        for key, field in section.model_fields.items():
            default = field.get_default()
            assert default is None or getattr(loaded, key) == default, f"{name}.{key}"


if __name__ == "__main__":
    sys.exit(main())
