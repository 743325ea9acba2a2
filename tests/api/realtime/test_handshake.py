"""What an upgrade request says of its session."""

import time

import pytest

from support.arriving import arrived
from whisper_router.api.client_secrets import ClientSecret
from whisper_router.api.realtime.config import ServerVad
from whisper_router.api.realtime.handshake import expiry, is_beta, usual_config
from whisper_router.live.turns import TurnOptions


def test_the_usual_session_listens_as_the_server_is_configured():
    """Seconds become milliseconds."""
    config = usual_config(TurnOptions(threshold=0.4, prefix_s=0.25, silence_s=0.7))
    detection = ServerVad(threshold=0.4, prefix_padding_ms=250, silence_duration_ms=700)
    assert config.input.turn_detection == detection
    assert config.input.transcription.model == "whisper-1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"OpenAI-Beta": "realtime=v1"}, True),
        ({"OpenAI-Beta": "assistants=v2, realtime=v1"}, True),
        ({"OpenAI-Beta": "assistants=v2"}, False),
        ({"Sec-WebSocket-Protocol": "realtime, openai-beta.realtime-v1"}, True),
        ({"Sec-WebSocket-Protocol": "realtime"}, False),
    ],
)
async def test_the_beta_is_asked_for_by_a_header(headers, expected):
    """Or by a subprotocol, or by a secret of its own route."""
    secret = ClientSecret(value="ek_1", expires_at=0, owner=None, session=None, is_beta=True)
    seen = await arrived(lambda sent: (is_beta(sent, None), is_beta(sent, secret)), headers.items())
    assert seen == (expected, True)


def test_a_session_says_when_it_ends():
    """In whole seconds of Unix time."""
    assert 3570 < expiry(3600) - time.time() <= 3600
