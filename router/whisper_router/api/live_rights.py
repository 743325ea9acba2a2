"""Whether a live session may go on: it lasts for an hour, and what its key may do can change."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import KEY
from whisper_router.api.keys import Key, Scope
from whisper_router.api.model_access import check_rights
from whisper_router.errors import IncorrectApiKey, InsufficientScope, ModelNotAllowed, ModelNotFound

LostRight = IncorrectApiKey | InsufficientScope | ModelNotAllowed


async def lost_right(request: web.Request, model: Callable[[], str]) -> LostRight:
    """Return once the key of a session may not have it any more, with the error that says why.

    It was revoked, disabled, or has expired; it lost the scope `live`, or the model that the
    session listens with now. Where no key is needed nothing is ever lost.
    """
    key, look_s = request.get(KEY), request.app[DEPS].live_limits.look_at_key_s
    if key is None:
        never: asyncio.Future[LostRight] = asyncio.get_running_loop().create_future()
        return await never
    while True:
        await asyncio.sleep(look_s)
        try:
            await _check(request, key, model())
        except (IncorrectApiKey, InsufficientScope, ModelNotAllowed) as error:
            return error
        except ModelNotFound:
            pass  # it is gone from the configuration, but not from who listens with it


async def _check(request: web.Request, begun_with: Key, model: str) -> None:
    deps = request.app[DEPS]
    key = (await deps.keys.ring()).current(begun_with, deps.usage.clocks.unix())
    check_rights(key, Scope.LIVE, deps.models, model)
