"""Examples for the shell."""

import shlex

import pytest

from whisper_router.api.deps import DialectOptions
from whisper_router.api.openapi.curl import example
from whisper_router.api.openapi.document import document
from whisper_router.api.services import ServiceInfo

PATHS = document(ServiceInfo(name="x", version="1", docs="x"), DialectOptions())["paths"]


def shown(method: str, path: str) -> str:
    return example(path, method, PATHS[path][method])


def test_a_form_has_a_file_and_a_model():
    """It can be pasted as it is, but for the file's name."""
    assert shown("post", "/v1/audio/transcriptions") == (
        'curl -H "Authorization: Bearer $KEY" -F file=@speech.mp3 -F model=whisper-1 '
        "http://127.0.0.1:8000/v1/audio/transcriptions"
    )


def test_no_key_where_none_is_needed():
    """As little as possible."""
    assert shown("get", "/health") == "curl http://127.0.0.1:8000/health"


def test_other_methods_are_named():
    """curl's own are GET, and POST with a body."""
    assert "-X DELETE" in shown("delete", "/v1/models/{id}")
    assert "-X POST" in shown("post", "/v1/processes/{alias}/pin")


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, found in PATHS.items() for method in found]
)
def test_every_example_is_a_command(path: str, method: str):
    """With all placeholders filled in."""
    words = shlex.split(shown(method, path))
    assert words[0] == "curl"
    assert "{" not in words[-1]


def test_parts_and_required_keys_have_their_own_names():
    """Those of the server whose API it is."""
    assert "-F audio_file=@speech.mp3 " in shown("post", "/asr")
    assert '-d \'{"url": ' in shown("post", "/")
    assert "-F language=en" in shown("post", "/whisperx/align_models/load")
