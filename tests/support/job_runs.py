"""A job runner over a transcriber that does as it is told."""

import asyncio
from contextlib import asynccontextmanager

from support.job_samples import EVENTS, make_job
from whisper_router.domain import AudioFound, AudioReady, Lane, LanguageDetected
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import JobAudio
from whisper_router.jobs.needs import JobLimits
from whisper_router.jobs.runner import JobRunner
from whisper_router.pipeline.chunk_memory import NO_MEMORY
from whisper_router.pipeline.plan import PlannedChunk

LIMITS = {"max_running": 2, "max_queued": 9, "keep_s": 1000.0, "hold_off_s": 0.01}
CHUNKS = [PlannedChunk(start=number, end=number + 1) for number in range(3)]


class Recogniser:
    """Runs three chunks; stops before `hold_at` until `release`; raises its `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.ran: list[tuple[str, int]] = []
        self.lanes: set[Lane] = set()
        self.hold_at: int | None = None
        self.reached, self.release = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0

    async def run(self, request, media, tracker=None, memory=NO_MEMORY):
        self.running += 1
        self.most = max(self.most, self.running)
        self.lanes.add(request.lane)
        try:
            if self.errors:
                raise self.errors.pop(0)
            assert await asyncio.to_thread(media.path.exists)
            yield AudioFound()
            for number, planned in enumerate(CHUNKS):
                known = await memory.recall(planned)
                if known is None:
                    if number == self.hold_at:
                        self.reached.set()
                        await self.release.wait()
                    self.ran.append((media.path.stem, number))
                    await memory.keep(planned, EVENTS)
                for event in known or EVENTS:
                    if not isinstance(event, LanguageDetected):
                        yield event
            yield AudioReady(duration_s=3.0, speech_s=3.0)
        finally:
            self.running -= 1


@asynccontextmanager
async def running(store, tmp_path, recogniser, fetcher=None, **limits):
    """Run jobs until the block ends; what fails is soon tried again."""
    with JobFiles.open(tmp_path) as files:
        runner = JobRunner(
            store=store,
            transcriber=recogniser,
            files=files,
            fetcher=fetcher,
            limits=JobLimits(**{**LIMITS, **limits}),
            notice=lambda job, transcript: {"status": job.status, "text": transcript and "text"},
        )
        await runner.open()
        try:
            yield runner
        finally:
            await runner.close()


def job_with_audio(tmp_path, name: str, **changes):
    """Return a job whose audio is there."""
    path = tmp_path / "audio" / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"RIFF")
    return make_job(name, audio=JobAudio(path=path, name="a.wav"), **changes)


async def ended(runner, job_id: str):
    """Return a job once it has ended."""
    async with asyncio.timeout(20):
        with runner.watch(job_id) as changed:
            while not (job := await runner.store.find(job_id)).has_ended:
                await changed.wait()
                changed.clear()
    return job


class Failing:
    """Takes the place of a method: raises `errors` first, one at each call, then does its work."""

    def __init__(self, owner, name: str, *errors: Exception) -> None:
        self._real, self._errors = getattr(owner, name), list(errors)
        self.has_raised = asyncio.Event()
        setattr(owner, name, self)

    async def __call__(self, *arguments, **named):
        if self._errors:
            self.has_raised.set()
            raise self._errors.pop(0)
        return await self._real(*arguments, **named)


class Held:
    """Takes the place of a method: its first call stops after its work until `release` is set."""

    def __init__(self, owner, name: str, *, before: bool = False) -> None:
        self._real, self._is_first, self._before = getattr(owner, name), True, before
        self.reached, self.release = asyncio.Event(), asyncio.Event()
        setattr(owner, name, self)

    async def __call__(self, *arguments, **named):
        first, self._is_first = self._is_first, False
        if first and self._before:
            await self._hold()
        result = await self._real(*arguments, **named)
        if first and not self._before:
            await self._hold()
        return result

    async def _hold(self):
        self.reached.set()
        await self.release.wait()
