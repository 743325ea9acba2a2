"""What an upgrade request says about the session that it wants. Pure, but for the clock."""

import time
from collections.abc import Mapping

from aiohttp import hdrs, web

from whisper_router.api.auth import presented_key
from whisper_router.api.client_secrets import ClientSecret
from whisper_router.api.deps import DEPS
from whisper_router.api.realtime.config import (
    Audio,
    Input,
    ServerVad,
    SessionConfig,
    Transcription,
)
from whisper_router.api.realtime.order import DEFAULT_MODEL
from whisper_router.api.services import ModelDirectory
from whisper_router.live.turns import TurnOptions

PROTOCOL = "realtime"
BETA_PROTOCOL = "openai-beta.realtime-v1"


def usual_config(turns: TurnOptions, *, model: str = DEFAULT_MODEL) -> SessionConfig:
    """Return what holds unless the client says otherwise."""
    detection = ServerVad(
        threshold=turns.threshold,
        prefix_padding_ms=round(turns.prefix_s * 1000),
        silence_duration_ms=round(turns.silence_s * 1000),
    )
    return SessionConfig(
        audio=Audio(input=Input(transcription=Transcription(model=model), turn_detection=detection))
    )


def secret_of(request: web.Request) -> ClientSecret | None:
    """Return the client secret that was presented, if it was one."""
    presented = presented_key(request)
    return None if presented is None else request.app[DEPS].client_secrets.find(presented)


def first_config(
    models: ModelDirectory,
    turns: TurnOptions,
    query: Mapping[str, str],
    secret: ClientSecret | None,
) -> SessionConfig:
    """Return how a session begins: as the secret says, with the model of the query.

    Every session is one for transcription, whatever the query says of its intent.

    Raises:
        ModelNotFound: the query names a model that is not there, or not for this key.
    """
    usual = usual_config(turns)
    config = secret.session if secret is not None else usual
    model = query.get("model", "").strip()
    if model:
        models.check(model)
        update = {
            "type": "transcription",
            "audio": {"input": {"transcription": {"model": model}}},
        }
        config = config.updated(update, defaults=usual)
    return config


def is_beta(request: web.Request, secret: ClientSecret | None) -> bool:
    """Tell whether the client speaks the shape that was retired in May 2026."""
    if secret is not None and secret.is_beta:
        return True
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    features = request.headers.get("OpenAI-Beta", "").lower().replace(" ", "").split(",")
    return "realtime=v1" in features or BETA_PROTOCOL in map(str.strip, offered)


def expiry(max_session_s: float) -> int:
    """Return when a session that begins now has to end, in Unix time."""
    return int(time.time() + max_session_s)
