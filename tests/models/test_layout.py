"""Where model files lie."""

from pathlib import Path

import pytest

from whisper_router.errors import ConfigurationError
from whisper_router.models.layout import name_of, part_of, path_of, shown_url
from whisper_router.models.source import HubFile, UrlFile

ROOT = Path("/models")


def test_a_hub_file_lies_in_a_folder_of_its_repository() -> None:
    """Owner and name, then the path inside the repository."""
    source = HubFile(repo="ggerganov/whisper.cpp", file="ggml-small.bin")
    assert path_of(source, ROOT) == ROOT / "ggerganov--whisper.cpp" / "ggml-small.bin"
    deep = HubFile(repo="a/b", file="q5/ggml.bin")
    assert path_of(deep, ROOT) == ROOT / "a--b" / "q5" / "ggml.bin"


def test_another_revision_is_another_file() -> None:
    """Two aliases may use two revisions."""
    source = HubFile(repo="a/b", file="m.bin", revision="refs/pr/1")
    assert path_of(source, ROOT) == ROOT / "a--b@refs--pr--1" / "m.bin"


def test_files_of_the_same_name_at_two_addresses_are_two_files() -> None:
    """The folder's name has a part of the address's hash."""
    paths = [
        path_of(UrlFile(url=f"https://example.org/{folder}/my%20model.bin?key=1"), ROOT)
        for folder in ("a", "b")
    ]
    assert paths[0] != paths[1]
    assert {path.name for path in paths} == {"my model.bin"}
    assert all(path.parent.name.startswith("example.org--") for path in paths)


def test_an_address_without_a_name_gets_one() -> None:
    """`https://example.org/`."""
    assert path_of(UrlFile(url="https://example.org/"), ROOT).name == "model.bin"


@pytest.mark.parametrize(
    "source",
    [
        HubFile(repo="a/b", file="../../etc/passwd"),
        HubFile(repo="a/b", file="/etc/passwd"),
        HubFile(repo="..", file="x"),
        HubFile(repo="a/b", file="x\0y"),
        UrlFile(url="https://example.org/a/%2e%2e"),
    ],
)
def test_no_name_leads_out_of_the_directory(source: HubFile | UrlFile) -> None:
    """Names come from a configuration file; a slip must not overwrite anything."""
    with pytest.raises(ConfigurationError, match="cannot be a model file's name"):
        path_of(source, ROOT)


def test_versions_of_a_file_do_not_share_an_incomplete_one() -> None:
    """Else half of the one would be completed with half of the other."""
    target = ROOT / "m.bin"
    parts = {part_of(target, version) for version in (None, "1", "2")}
    assert len(parts) == 3


def test_shown_addresses_hold_no_secrets() -> None:
    """Neither the query nor a password."""
    source = UrlFile(url="https://user:pass@example.org/m.bin?key=secret")
    assert shown_url(source, None) == "https://example.org/m.bin"
    assert name_of(source) == "example.org/m.bin"
    hub = HubFile(repo="a/b", file="m.bin")
    assert shown_url(hub, None) == "https://huggingface.co/a/b/resolve/main/m.bin"
    assert shown_url(hub, "http://mirror/") == "http://mirror/a/b/resolve/main/m.bin"
