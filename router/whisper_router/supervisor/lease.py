"""What somebody holds who may use one worker."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import aiohttp

from whisper_router.engine_api import Endpoint, Engine, ReadyInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One worker, for as long as the lease is held.

    Pass `http` and `endpoint` to `engine.transcribe`. `pid` and `ready` are None for an engine
    without a process of ours. Inside of `unless_lost()` an `EngineCrashed` comes as soon as a
    server is known to be gone.
    """

    alias: str
    engine: Engine
    http: aiohttp.ClientSession
    endpoint: Endpoint
    ready: ReadyInfo | None
    pid: int | None
    unless_lost: Callable[[], AbstractAsyncContextManager[None]]
