"""Where model files lie under the store's directory.

`<directory>/<owner>--<name>/<file>` for the hub, `<directory>/<host>--<hash of the URL>/<file>` for
other addresses: plain folders that a person can read, and fill by hand.
"""

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from whisper_router.errors import ConfigurationError
from whisper_router.models.source import HubFile, RemoteFile, UrlFile

HUB = "https://huggingface.co"
LOCKS = ".locks"
PART = ".part"


def path_of(source: RemoteFile, directory: Path) -> Path:
    """Return where the file of `source` belongs.

    Raises:
        ConfigurationError: the source's name would lead out of `directory`.
    """
    parts = _hub_parts(source) if isinstance(source, HubFile) else _url_parts(source)
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ConfigurationError(f"'{name_of(source)}' cannot be a model file's name")
    return directory.joinpath(*parts)


def lock_of(target: Path, directory: Path) -> Path:
    """Return the lock file of the model file `target`. Lock files are empty and stay."""
    return directory / LOCKS / ("--".join(target.relative_to(directory).parts) + ".lock")


def part_of(target: Path, version: str | None) -> Path:
    """Return where the incomplete file lies. Another `version` of the file gets another place."""
    if version is None:
        return target.with_name(f"{target.name}{PART}")
    return target.with_name(f"{target.name}.{_digest(version)}{PART}")


def parts_of(target: Path) -> list[Path]:
    """Return the incomplete files of `target` that are there, of any version."""
    if not target.parent.is_dir():
        return []
    return [
        path
        for path in target.parent.iterdir()
        if path.name.startswith(f"{target.name}.") and path.name.endswith(PART)
    ]


def shown_url(source: RemoteFile, endpoint: str | None) -> str:
    """Return the address that a person would fetch the file from, without what may be secret."""
    if isinstance(source, UrlFile):
        return f"{urlsplit(source.url).scheme}://{name_of(source)}"
    hub = (endpoint or HUB).rstrip("/")
    return f"{hub}/{source.repo}/resolve/{source.revision}/{source.file}"


def name_of(source: RemoteFile) -> str:
    """Return a short name of the file for messages and logs; never a URL's query or password."""
    if isinstance(source, HubFile):
        return f"{source.repo}/{source.file}"
    url = urlsplit(source.url)
    return f"{url.hostname}{url.path}"


def _hub_parts(source: HubFile) -> tuple[str, ...]:
    folder = source.repo.replace("/", "--")
    if source.revision != "main":
        folder += f"@{source.revision.replace('/', '--')}"
    return (folder, *source.file.split("/"))


def _url_parts(source: UrlFile) -> tuple[str, ...]:
    url = urlsplit(source.url)
    name = PurePosixPath(unquote(url.path)).name
    return (f"{url.hostname or 'unknown'}--{_digest(source.url)}", name or "model.bin")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
