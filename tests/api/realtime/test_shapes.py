"""Session objects in both shapes."""

import pytest
from openai.types.realtime import RealtimeTranscriptionSessionCreateResponse

from whisper_router.api.realtime.config import LOGPROBS, SessionConfig
from whisper_router.api.realtime.shapes import beta_path, beta_session, from_beta, ga_session
from whisper_router.errors import InvalidParameter

USUAL = SessionConfig()


def test_the_ga_object_is_what_the_client_library_expects():
    """All parts are there; those that are off are null."""
    told = ga_session(USUAL, session_id="sess_1", expires_at=1795000000)
    parsed = RealtimeTranscriptionSessionCreateResponse.model_validate(told)
    assert (parsed.id, parsed.type) == ("sess_1", "transcription")
    assert told == {
        "id": "sess_1",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": 1795000000,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": None, "language": None, "prompt": None},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
    }


def test_what_a_client_gave_is_told_again():
    """Also what has no effect."""
    update = {
        "type": "transcription",
        "audio": {
            "input": {
                "transcription": {"keywords": ["Ines"], "delay": "low"},
                "turn_detection": {"type": "semantic_vad", "create_response": False},
            }
        },
    }
    config = USUAL.updated(update, defaults=USUAL)
    told = ga_session(config, session_id="s", expires_at=0)["audio"]["input"]
    assert told["transcription"]["keywords"] == ["Ines"]
    assert told["transcription"]["delay"] == "low"
    assert told["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": False,
    }


def test_the_beta_is_flat_both_ways():
    """Its names, its formats."""
    flat = {
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "small", "language": "en"},
        "input_audio_noise_reduction": {"type": "far_field"},
        "turn_detection": None,
        "include": [LOGPROBS],
    }
    config = USUAL.updated(from_beta(flat), defaults=USUAL)
    told = beta_session(config, session_id="s", expires_at=7)
    assert told["input_audio_format"] == "g711_ulaw"
    assert told["input_audio_transcription"] == {"model": "small", "language": "en", "prompt": None}
    assert told["input_audio_noise_reduction"] == {"type": "far_field", "strength": 1.0}
    assert told["turn_detection"] is told["client_secret"] is None
    assert told["include"] == [LOGPROBS]
    assert (told["object"], told["expires_at"]) == ("realtime.transcription_session", 7)


def test_a_beta_client_is_told_its_own_names():
    """Of what is wrong."""
    for flat, param in (
        ({"input_audio_format": "mp3"}, "session.input_audio_format"),
        ({"input_audio_transcription": {"language": "x"}}, "session.input_audio_transcription"),
        ({"volume": 1}, "session.volume"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            USUAL.updated(from_beta(flat), defaults=USUAL)
        assert (beta_path(caught.value.param) or "").startswith(param)
    with pytest.raises(InvalidParameter):
        from_beta(None)
    assert beta_path(None) is None
