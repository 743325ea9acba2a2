"""The whole API as one aiohttp application."""

import asyncio

from aiohttp import web

from whisper_router import tracing
from whisper_router.api import (
    activity,
    admin,
    dialects,
    health,
    jobs,
    live_ws,
    metrics,
    openai,
    progress,
    pulling,
    system,
    ui,
    usage,
)
from whisper_router.api.auth import authenticate
from whisper_router.api.body import drain_unread
from whisper_router.api.context import add_headers, identify_request, log_access, trace_request
from whisper_router.api.cors import answer_preflights
from whisper_router.api.deps import DEPS, STOPPING, ApiDeps
from whisper_router.api.dialects.kept import RUNNING
from whisper_router.api.malformed import MALFORMED, Malformed
from whisper_router.api.metering import count_requests
from whisper_router.api.openapi import routes as openapi
from whisper_router.api.problems import DETAILED, answer_problems
from whisper_router.api.proxies import PROXIES
from whisper_router.api.realtime import routes as realtime
from whisper_router.api.runner import refuse_surplus
from whisper_router.api.wrong_keys import WRONG_KEYS, WrongKeys

PARTS = (
    metrics,
    health,
    ui,
    openapi,
    openai,
    live_ws,
    realtime,
    progress,
    activity,
    jobs,
    pulling,
    usage,
    system,
    admin,
)


def build_api(deps: ApiDeps) -> web.Application:
    """Return the application. Serve it with `handler_cancellation=True`.

    Without that a handler goes on after its client has left, and so does the engine.
    """
    app = web.Application(
        middlewares=[  # outermost first
            identify_request,
            drain_unread(deps.drain),
            log_access,
            *([trace_request] if tracing.is_on() else []),
            answer_preflights(deps.cors),
            answer_problems,
            refuse_surplus,
            authenticate,
            count_requests,
        ]
    )
    app[DEPS], app[STOPPING] = deps, asyncio.Event()
    app[PROXIES], app[WRONG_KEYS] = deps.proxies, WrongKeys()
    app[MALFORMED] = Malformed(deps.audit, service=deps.service.name)
    app[openapi.REFERENCE] = openapi.Reference(deps)
    app[ui.PAGE] = ui.Page()
    app[RUNNING] = {}
    app[system.EXAMINING] = asyncio.Lock()
    app[DETAILED] = dialects.detailed_paths(deps.dialects)
    app.on_shutdown.append(_note_stop)
    app.on_response_prepare.append(add_headers)
    app.add_routes(dialects.routes(deps.dialects))
    for part in PARTS:
        app.add_routes(part.routes())
    return app


async def _note_stop(app: web.Application) -> None:
    app[STOPPING].set()
