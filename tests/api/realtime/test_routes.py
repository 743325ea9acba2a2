"""Client secrets over HTTP."""

import time

import pytest
from openai.types.realtime import ClientSecretCreateResponse

from support.api_app import GOOD


@pytest.fixture
async def url(api):
    return f"http://{api.host}:{api.port}/v1/realtime"


async def test_a_secret_comes_with_its_session(url, http):
    """In the shape that the client library knows; nothing needs to be asked for."""
    async with http.post(f"{url}/client_secrets") as response:
        assert response.status == 200
        body = await response.json()
    parsed = ClientSecretCreateResponse.model_validate(body)
    assert parsed.value.startswith("ek_")
    assert 590 < parsed.expires_at - time.time() <= 600
    assert parsed.session.type == "transcription"
    assert parsed.session.audio.input.turn_detection.silence_duration_ms == 500
    spoken = {"model": GOOD, "language": "de"}
    session = {"type": "transcription", "audio": {"input": {"transcription": spoken}}}
    wanted = {"session": session, "expires_after": {"anchor": "created_at", "seconds": 10}}
    async with http.post(f"{url}/client_secrets", json=wanted) as response:
        parsed = ClientSecretCreateResponse.model_validate(await response.json())
    assert parsed.expires_at - time.time() <= 10
    assert parsed.session.audio.input.transcription.language == "de"


async def test_the_beta_has_its_own_route(url, http):
    """The secret is inside the session."""
    async with http.post(f"{url}/transcription_sessions", json={"turn_detection": None}) as answer:
        assert answer.status == 200
        body = await answer.json()
    assert body["client_secret"]["value"].startswith("ek_")
    assert body["turn_detection"] is None
    assert body["input_audio_format"] == "pcm16"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("client_secrets", {"expires_after": {"seconds": 9}}, 400, "expires_after.seconds"),
        ("client_secrets", {"expires_after": {"seconds": 7201}}, 400, "expires_after.seconds"),
        ("client_secrets", {"expires_after": {"seconds": True}}, 400, "expires_after.seconds"),
        ("client_secrets", {"expires_after": {"anchor": "now"}}, 400, "expires_after"),
        ("client_secrets", {"expires_after": 60}, 400, "expires_after"),
        ("client_secrets", {"session": {"type": "realtime"}}, 400, "session.type"),
        ("client_secrets", {"session": {}}, 400, "session.type"),
        ("client_secrets", [], 400, None),
        (
            "client_secrets",
            {
                "session": {
                    "type": "transcription",
                    "audio": {"input": {"transcription": {"model": "x"}}},
                }
            },
            400,
            "session.audio.input.transcription.model",
        ),
        ("client_secrets", {"sesion": {}}, 400, "sesion"),
        ("transcription_sessions", {"input_audio_format": "x"}, 400, "input_audio_format"),
        ("transcription_sessions", {"volume": 1}, 400, "volume"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_name(url, http, path, body, status, param):
    """As an HTTP error with the usual body."""
    async with http.post(f"{url}/{path}", json=body) as response:
        assert response.status == status
        error = (await response.json())["error"]
    assert error["type"] == "invalid_request_error"
    if status == 400:
        assert error["param"] == param


async def test_a_page_of_another_site_makes_no_secrets_where_no_key_is_needed(url, http):
    """They would be good for the WebSocket."""
    for path in ("client_secrets", "transcription_sessions"):
        headers = {"Origin": "https://evil.example"}
        async with http.post(f"{url}/{path}", headers=headers) as response:
            assert response.status == 403


async def test_what_is_no_json_is_refused(url, http):
    """It says so."""
    async with http.post(f"{url}/client_secrets", data=b"{") as response:
        assert response.status == 400
        assert "not JSON" in (await response.json())["error"]["message"]


async def test_a_socket_wants_an_upgrade(url, http):
    """A plain GET is told."""
    async with http.get(url) as response:
        assert response.status == 400
        assert "WebSocket" in (await response.json())["error"]["message"]
