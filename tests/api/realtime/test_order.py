"""What settings of a session mean for the router."""

import pytest

from support.in_process import settings_in
from whisper_router.api.realtime.config import SessionConfig
from whisper_router.api.realtime.handshake import usual_config
from whisper_router.api.realtime.order import SessionOrder, input_of, model_of
from whisper_router.app import build_router
from whisper_router.directory import Directory
from whisper_router.domain import Client, TranscriptionRequest
from whisper_router.errors import InvalidParameter
from whisper_router.live.turns import TurnOptions

USUAL = usual_config(TurnOptions())
ORDER = SessionOrder(
    config=USUAL,
    defaults=USUAL,
    request=TranscriptionRequest(model="", request_id="req_1", client=Client(name="laptop")),
    expires_at=7,
)


def updated(**audio_input) -> SessionConfig:
    session = {"type": "transcription", "audio": {"input": audio_input}}
    return USUAL.updated(session, defaults=USUAL)


def test_the_request_is_on_the_same_behalf_with_what_the_settings_say():
    config = updated(transcription={"model": "small", "language": "de", "prompt": "Ja"})
    request = ORDER.request_of(config)
    assert (request.request_id, request.client.name) == ("req_1", "laptop")
    assert (request.model, request.language, request.prompt) == ("small", "de", "Ja")
    assert model_of(USUAL) == ORDER.request_of(USUAL).model == "whisper-1"


@pytest.mark.parametrize(
    ("kind", "a_second"), [("audio/pcm", 48_000), ("audio/pcmu", 8000), ("audio/pcma", 8000)]
)
def test_a_second_of_each_format_is_a_second(kind, a_second):
    """24 kHz of two bytes, 8 kHz of one; both ways go on from where the session is."""
    log, decoder = input_of(updated(format={"type": kind}), at_s=2.0)
    log.append(bytes(a_second))
    assert log.end_s == 3.0
    samples = len(decoder.feed(bytes(a_second))) + len(decoder.flush())
    assert samples == pytest.approx(16_000, abs=2)


@pytest.mark.parametrize(
    ("transcription", "field", "code"),
    [
        ({"model": "gpt-9"}, "model", "invalid_model"),
        ({"model": "english", "language": "de"}, "language", "unsupported_value"),
    ],
)
async def test_what_cannot_be_names_its_field(
    tmp_path, blocking_calls_fail, transcription, field, code
):
    """A router may block while it is built."""
    blocking_calls_fail.deactivate()
    models = {"english": {"model": "tiny.en"}}
    async with build_router(settings_in(tmp_path, models=models)) as router:
        known = {"models": Directory(router), "live": router.live}
        ORDER.check(updated(transcription={"model": "english"}), **known)
        with pytest.raises(InvalidParameter) as caught:
            ORDER.check(updated(transcription=transcription), **known)
    assert caught.value.param == f"session.audio.input.transcription.{field}"
    assert caught.value.code == code
