"""Reads `catalogue.toml`: the models that can be named without configuring anything."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from whisper_router.models.source import HubFile, ModelSpec, Origin

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Presets:
    """The catalogue: models by name, other names for them, and the OpenAI API's model ids.

    `default` names the model that `whisper-1` is when nothing is configured.
    """

    specs: Mapping[str, ModelSpec]
    other_names: Mapping[str, str]
    openai_ids: tuple[str, ...]
    default: str

    def find(self, name: str) -> ModelSpec | None:
        """Return the preset called `name`, by any of its names."""
        return self.specs.get(self.other_names.get(name, name))


def load_presets() -> Presets:
    """Return the catalogue that comes with the package."""
    text = (files("whisper_router.models") / "catalogue.toml").read_text(encoding="utf-8")
    return parse_presets(text)


def parse_presets(text: str) -> Presets:
    """Return the catalogue written in `text` (TOML, as in `catalogue.toml`)."""
    table = tomllib.loads(text)
    rows = table["preset"]
    return Presets(
        specs={row["name"]: _spec(row, engine=table["engine"], repo=table["repo"]) for row in rows},
        other_names={other: row["name"] for row in rows for other in row.get("names", ())},
        openai_ids=tuple(table["openai_ids"]),
        default=table["default"],
    )


def _spec(row: Mapping[str, Any], *, engine: str, repo: str) -> ModelSpec:
    name: str = row["name"]
    return ModelSpec(
        alias=name,
        engine=engine,
        source=HubFile(
            repo=row.get("repo", repo),
            file=f"ggml-{name}.bin",
            size_bytes=row.get("size_bytes"),
            sha256=row.get("sha256"),
            sha1=row.get("sha1"),
        ),
        memory_bytes=row["memory_mib"] * MEBIBYTE,
        origin=Origin.PRESET,
        description=row["description"],
        multilingual=".en" not in name,
    )
