"""A session's configuration: defaults, updates, and what is refused."""

import math

import pytest

from whisper_router.api.realtime.config import (
    LOGPROBS,
    TENTATIVE,
    Audio,
    Input,
    NoiseReduction,
    Pcm,
    Pcma,
    SemanticVad,
    ServerVad,
    SessionConfig,
    Transcription,
)
from whisper_router.errors import InvalidParameter, MissingParameter
from whisper_router.live.turns import TurnOptions

USUAL = SessionConfig(
    audio=Audio(
        input=Input(
            transcription=Transcription(model="whisper-1"),
            turn_detection=ServerVad(silence_duration_ms=700),
        )
    )
)


def updated(config: SessionConfig = USUAL, **audio_input) -> SessionConfig:
    update = {"type": "transcription", "audio": {"input": audio_input}}
    return config.updated(update, defaults=USUAL)


def test_only_what_is_named_changes():
    """Objects are merged key by key."""
    config = updated(transcription={"language": "de"})
    assert config.input.transcription == Transcription(model="whisper-1", language="de")
    config = updated(config, turn_detection={"type": "server_vad", "threshold": 0.25})
    assert config.input.turn_detection == ServerVad(threshold=0.25, silence_duration_ms=700)
    assert config.input.transcription.language == "de"
    config = updated(config, turn_detection={"silence_duration_ms": 300})
    assert config.input.turn_detection == ServerVad(threshold=0.25, silence_duration_ms=300)
    assert USUAL.updated({"type": "transcription"}, defaults=USUAL) == USUAL


def test_null_switches_off_or_goes_back_to_the_default():
    """No turn detection, no noise reduction, no language; the usual model and format."""
    config = updated(
        format={"type": "audio/pcma"},
        noise_reduction={"type": "near_field", "strength": 0.5},
        transcription={"model": "small", "language": "en"},
    )
    assert config.input.format == Pcma()
    kept = updated(config, noise_reduction={"type": "far_field"})
    assert kept.input.noise_reduction == NoiseReduction(type="far_field", strength=0.5)
    config = updated(
        config, turn_detection=None, noise_reduction=None, transcription=None, format=None
    )
    assert config.input.turn_detection is None
    assert config.input.noise_reduction is None
    assert config.input.format == Pcm()
    assert config.input.transcription == Transcription(model="whisper-1")
    config = updated(updated(transcription={"language": "en"}), transcription={"language": None})
    assert config.language is None


def test_null_in_turn_detection_goes_back_to_what_is_usual():
    """Of either type."""
    config = updated(turn_detection={"type": "server_vad", "silence_duration_ms": 100})
    config = updated(
        config,
        turn_detection={"type": "server_vad", "threshold": None, "silence_duration_ms": None},
    )
    assert config.input.turn_detection == ServerVad(silence_duration_ms=700)
    config = updated(config, turn_detection={"type": "semantic_vad", "eagerness": None})
    assert config.input.turn_detection == SemanticVad()


def test_another_type_begins_with_its_own_defaults():
    """Nothing of server_vad is left in semantic_vad, and back."""
    config = updated(turn_detection={"type": "semantic_vad", "eagerness": "high"})
    assert config.input.turn_detection == SemanticVad(eagerness="high")
    config = updated(config, turn_detection={"type": "server_vad"})
    assert config.input.turn_detection == ServerVad(silence_duration_ms=700)
    config = updated(updated(turn_detection=None), turn_detection={"type": "server_vad"})
    assert config.input.turn_detection == ServerVad(silence_duration_ms=700)


def test_include_is_a_list_or_null():
    """With ours for tentative text."""
    config = USUAL.updated(
        {"type": "transcription", "include": [LOGPROBS, TENTATIVE]}, defaults=USUAL
    )
    assert config.includes(LOGPROBS)
    assert config.includes(TENTATIVE)
    config = config.updated({"type": "transcription", "include": None}, defaults=USUAL)
    assert not config.includes(LOGPROBS)


@pytest.mark.parametrize(
    ("update", "param", "code"),
    [
        ({"audio": {"input": {"volume": 3}}}, "session.audio.input.volume", "unknown_parameter"),
        ({"voice": "x"}, "session.voice", "unknown_parameter"),
        ({"type": "realtime"}, "session.type", "invalid_value"),
        ({"type": "poem"}, "session.type", "invalid_value"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "session.audio.input.format.rate",
            "integer_below_min_value",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 48_000}}}},
            "session.audio.input.format.rate",
            "integer_above_max_value",
        ),
        ({"audio": {"input": {"format": "pcm16"}}}, "session.audio.input.format", "invalid_value"),
        (
            {"audio": {"input": {"format": {"type": "audio/opus"}}}},
            "session.audio.input.format.type",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "psychic"}}}},
            "session.audio.input.turn_detection.type",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": "loud"}}}},
            "session.audio.input.turn_detection.threshold",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "eagerness": "low"}}}},
            "session.audio.input.turn_detection.eagerness",
            "unknown_parameter",
        ),
        (
            {"audio": {"input": {"transcription": {"language": "klingon"}}}},
            "session.audio.input.transcription.language",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"transcription": {"languages": []}}}},
            "session.audio.input.transcription.languages",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"transcription": {"keywords": ["a\nb"]}}}},
            "session.audio.input.transcription.keywords",
            "invalid_value",
        ),
        ({"include": ["everything"]}, "session.include.0", "invalid_value"),
        (
            {"audio": {"input": {"noise_reduction": {"strength": 0.5}}}},
            "session.audio.input.noise_reduction.type",
            "missing_required_parameter",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"type": "near_field", "strength": math.inf}}}},
            "session.audio.input.noise_reduction.strength",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}}},
            "session.audio.input.turn_detection.threshold",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"transcription": {"prompt": "x" * 5000}}}},
            "session.audio.input.transcription.prompt",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"transcription": {"keywords": ["x"] * 101}}}},
            "session.audio.input.transcription.keywords",
            "invalid_value",
        ),
        ({"audio": 7}, "session.audio", "invalid_value"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(update, param, code):
    """And nothing changes: the configuration is frozen."""
    with pytest.raises(InvalidParameter) as caught:
        USUAL.updated({"type": "transcription", **update}, defaults=USUAL)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_session_has_a_type():
    """And is an object."""
    with pytest.raises(MissingParameter) as caught:
        USUAL.updated({}, defaults=USUAL)
    assert caught.value.param == "session.type"
    with pytest.raises(InvalidParameter):
        USUAL.updated("transcription", defaults=USUAL)


def test_one_language_is_recognised_and_several_are_detected():
    """In any spelling of it."""
    assert updated(transcription={"language": "German"}).language == "de"
    assert updated(transcription={"languages": ["pt-BR"]}).language == "pt"
    assert updated(transcription={"languages": ["en", "de"]}).language is None


def test_turns_are_those_of_the_detection_that_is_asked_for():
    """Milliseconds become seconds; eagerness becomes patience."""
    usual = TurnOptions(silence_s=0.7, threshold=0.4)
    assert updated(turn_detection=None).turns(usual) == usual
    detection = {"type": "server_vad", "prefix_padding_ms": 100, "silence_duration_ms": 200}
    turns = updated(turn_detection=detection).turns(usual)
    assert (turns.threshold, turns.prefix_s, turns.silence_s) == (0.5, 0.1, 0.2)
    for eagerness, silence_s in (("low", 8), ("medium", 4), ("auto", 4), ("high", 2)):
        detection = {"type": "semantic_vad", "eagerness": eagerness}
        turns = updated(turn_detection=detection).turns(usual)
        assert (turns.early_s, turns.silence_s) == (0.5, silence_s)
