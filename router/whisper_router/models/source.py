"""What a model is and where its file comes from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file in a model repository of a Hugging Face hub.

    `repo` is `owner/name`, `revision` a branch, tag or commit. Size and checksums, where they are
    known, must be those of the file; the hub's own SHA-256 is checked in any case.
    """

    repo: str
    file: str
    revision: str = "main"
    size_bytes: int | None = None
    sha256: str | None = None
    sha1: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlFile:
    """A file at an http(s) address. Without `sha256` only its length can be checked."""

    url: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file on this machine, used where it lies. It is never fetched and never removed."""

    path: Path


NO_WEIGHTS: Final = LocalFile(path=Path(os.devnull))
"""What an engine gets that needs none: an empty file."""

RemoteFile = HubFile | UrlFile
ModelSource = HubFile | UrlFile | LocalFile


class Origin(StrEnum):
    """Where a model's name comes from."""

    CONFIGURED = "configured"
    PRESET = "preset"
    BUNDLED = "bundled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model that requests can name.

    `engine` names a plugin and `options` are for it. `memory_bytes` estimates what the loaded model
    needs; `multilingual` is None where nobody said.
    """

    alias: str
    engine: str
    source: ModelSource
    options: Mapping[str, object] = field(default_factory=dict)
    memory_bytes: int | None = None
    origin: Origin = Origin.CONFIGURED
    description: str = ""
    multilingual: bool | None = None
