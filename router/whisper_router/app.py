"""The composition root: builds everything from the settings, and takes it down in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from whisper_router.aliases import Aliases, build_aliases
from whisper_router.audio.media import MediaLimits, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.models.source import ModelSpec
from whisper_router.models.store import ModelStore
from whisper_router.pipeline.chunk import ChunkBudget
from whisper_router.pipeline.transcribe import Transcriber
from whisper_router.places import run_directory, spool_root, store_directory
from whisper_router.plugins import load_engines
from whisper_router.settings import Settings
from whisper_router.supervisor.pool import ModelPool, SupervisionOptions, Supervisor
from whisper_router.tasks import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Everything that recognises speech, without any protocol in front of it."""

    settings: Settings
    aliases: Aliases
    store: ModelStore
    supervisor: Supervisor
    media: MediaPool
    spool: Spool
    transcriber: Transcriber
    tasks: Tasks


@asynccontextmanager
async def build_router(settings: Settings) -> AsyncIterator[Router]:
    """Build everything; engines start with the first request.

    At the end engines stop first, then the media workers; then files are deleted.

    Raises:
        ConfigurationError: an alias, an engine option or a directory cannot be used.
    """
    aliases = build_aliases(settings, load_engines())
    async with AsyncExitStack() as stack:
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        spool = stack.enter_context(await asyncio.to_thread(Spool.create, spool_root(settings)))
        media = MediaPool(
            workers=settings.audio.media_workers, limits=_media_limits(settings), tasks=tasks
        )
        await media.start()
        stack.push_async_callback(media.close)
        store = _store(settings, tasks)
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.close)
        yield Router(
            settings=settings,
            aliases=aliases,
            store=store,
            supervisor=supervisor,
            media=media,
            spool=spool,
            transcriber=_transcriber(settings, media, spool, supervisor, tasks),
            tasks=tasks,
        )
