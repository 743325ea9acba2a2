"""Keys that a command was given."""

import pytest

from whisper_router.cli import main
from whisper_router.commands.remote_key import key_headers
from whisper_router.errors import ConfigurationError


def test_a_key_is_presented_and_none_is_not():
    assert key_headers("wr-1") == {"Authorization": "Bearer wr-1"}
    assert key_headers(None) == key_headers("") == {}


@pytest.mark.parametrize("key", ["a\nb", "a\r", "\0", "\udcff"])
def test_what_no_header_can_have_is_refused(key: str):
    """It is not repeated: it may be most of a key."""
    with pytest.raises(ConfigurationError, match="line ends") as caught:
        key_headers(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("command", [["bench", "--key"], ["transcribe", "--api-key"]])
def test_commands_end_with_a_sentence(command: list[str], tmp_path, capsys):
    """And not with a traceback."""
    clip = tmp_path / "a.wav"
    clip.write_bytes(b"x")
    status = main([*command, "a\nb", "--url", "http://127.0.0.1:9/v1", str(clip)])
    assert status != 0
    assert "the API key has line ends" in capsys.readouterr().err
