"""The routes of the Realtime API: the WebSocket, and secrets for those that must not hold a key."""

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from whisper_router.api.auth import KEY, refuse_foreign_pages
from whisper_router.api.deps import DEPS
from whisper_router.api.fields import quoted
from whisper_router.api.model_access import models_of
from whisper_router.api.realtime.config import SessionConfig
from whisper_router.api.realtime.handshake import usual_config
from whisper_router.api.realtime.items import new_id
from whisper_router.api.realtime.order import model_of
from whisper_router.api.realtime.shapes import beta_path, beta_session, from_beta, ga_session
from whisper_router.api.realtime.socket import realtime
from whisper_router.api.wire import json_response
from whisper_router.audio.upload import read_body
from whisper_router.errors import InvalidParameter, InvalidRequest, ModelNotFound

LEAST_S, USUAL_S, MOST_S = 10, 600, 7200
Json = dict[str, Any]


def routes() -> Sequence[web.RouteDef]:
    """Return the routes, with and without `/v1`."""
    return [
        route
        for prefix in ("/v1", "")
        for route in (
            web.get(f"{prefix}/realtime", realtime, allow_head=False),
            web.post(f"{prefix}/realtime/client_secrets", make_secret),
            web.post(f"{prefix}/realtime/transcription_sessions", make_beta_session),
        )
    ]


async def make_secret(request: web.Request) -> web.Response:
    """POST /v1/realtime/client_secrets."""
    refuse_foreign_pages(request)
    deps, body = request.app[DEPS], await _body(request)
    for name in body:
        if name not in {"session", "expires_after"}:
            raise InvalidParameter(
                f"Unknown parameter: {quoted(name)}.", param=name[:60], code="unknown_parameter"
            )
    usual = usual_config(deps.live.turns)
    config = usual
    if body.get("session") is not None:
        config = usual.updated(body["session"], defaults=usual)
    _check_model(request, config)
    secret = deps.client_secrets.make(
        seconds=_seconds(body), owner=request.get(KEY), session=config
    )
    session = ga_session(config, session_id=new_id("sess"), expires_at=0)
    return json_response(
        {"value": secret.value, "expires_at": secret.expires_at, "session": session}
    )


async def make_beta_session(request: web.Request) -> web.Response:
    """POST /v1/realtime/transcription_sessions, as it was before client secrets."""
    refuse_foreign_pages(request)
    deps, body = request.app[DEPS], await _body(request)
    usual = usual_config(deps.live.turns)
    try:
        config = usual.updated(from_beta(body), defaults=usual)
        _check_model(request, config)
    except InvalidParameter as error:
        path = (beta_path(error.param) or "").removeprefix("session.")
        message = str(error).replace(error.param or path, path)
        raise InvalidParameter(message, param=path, code=error.code) from error
    secret = deps.client_secrets.make(
        seconds=USUAL_S, owner=request.get(KEY), session=config, is_beta=True
    )
    told = beta_session(config, session_id=new_id("sess"), expires_at=0)
    told["client_secret"] = {"value": secret.value, "expires_at": secret.expires_at}
    return json_response(told)


def _check_model(request: web.Request, config: SessionConfig) -> None:
    """Raise InvalidParameter if sessions could not begin with this."""
    try:
        models_of(request).check(model_of(config))
    except ModelNotFound as error:
        raise InvalidParameter(
            str(error), param="session.audio.input.transcription.model", code="invalid_model"
        ) from error


async def _body(request: web.Request) -> Json:
    """Return the JSON object that was sent; nothing is an empty one."""
    data = await read_body(request, request.app[DEPS].upload_limits)
    if not data.strip():
        return {}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def _seconds(body: Json) -> int:
    """Return for how long the secret is to be good.

    Raises:
        InvalidParameter: not a number of seconds between 10 and 7200.
    """
    after = body.get("expires_after")
    if after is None:
        return USUAL_S
    if not isinstance(after, dict) or after.get("anchor", "created_at") != "created_at":
        raise InvalidParameter(
            "'expires_after' is an object with the anchor 'created_at'.", param="expires_after"
        )
    seconds = after.get("seconds", USUAL_S)
    is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not is_number or not LEAST_S <= seconds <= MOST_S:
        raise InvalidParameter(
            f"'expires_after.seconds' must be an integer from {LEAST_S} to {MOST_S}.",
            param="expires_after.seconds",
        )
    return int(seconds)
