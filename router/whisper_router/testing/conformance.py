"""The tests that every engine must pass.

A plugin runs them by subclassing in a test module of its own:

    class TestMine(SupervisedEngineConformance):
        @pytest.fixture
        def subject(self):
            return Subject(engine=Mine(), model=Path("weights.bin"), speech=Path("hello.wav"), ...)

`EngineConformance` holds for every engine that is reachable, `SupervisedEngineConformance` adds
what an engine with a process of its own must do.
"""

# ruff: noqa: S101 these are tests

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from whisper_router.domain import (
    Chunk,
    LanguageDetected,
    Task,
    TranscriptionRequest,
)
from whisper_router.engine_api import (
    Endpoint,
    Engine,
    EngineEvent,
    ProbingEngine,
    ReadyInfo,
    WorkerStarted,
)
from whisper_router.errors import EngineCrashed, EngineInterrupted, EngineRejected
from whisper_router.testing.checks import check_order, check_segments, check_words, segments_of
from whisper_router.testing.harness import (
    Running,
    end_at_work,
    make_endpoint,
    running,
    start_error,
    write_spool,
)

ANSWER_TIMEOUT_S = 60.0
PROMPT_S = 5.0
"""A worker that was left must serve the next short chunk within this time, and three times what one
takes there otherwise: less than `LONG_S` takes where each half minute takes as long as a chunk."""
LONG_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tested: an engine, and speech that its model understands.

    `speech` is a 16 kHz mono 16-bit WAV of a few seconds; `text` what is said there, in lower case
    without punctuation, or None where the model is not that good. `endpoint` is set for an engine
    that has no process.
    """

    engine: Engine
    model: Path
    speech: Path
    language: str
    text: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A reachable engine and the chunk of speech to send it."""

    subject: Subject
    http: aiohttp.ClientSession
    endpoint: Endpoint
    chunk: Chunk
    ready: ReadyInfo

    async def events(self, *, chunk: Chunk | None = None, **fields: Any) -> list[EngineEvent]:
        """Return every event of one transcription."""
        request = TranscriptionRequest(model="conformance", **fields)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            stream = self.subject.engine.transcribe(
                self.http, self.endpoint, chunk or self.chunk, request
            )
            return [event async for event in stream]


class EngineConformance:
    """What every engine does. Subclass it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Return what to test."""
        raise NotImplementedError("give a fixture `subject`")

    @asynccontextmanager
    async def serving(self, subject: Subject, folder: Path) -> AsyncIterator[Service]:
        """Reach the engine at its endpoint."""
        assert subject.endpoint is not None, "an engine without a process needs an endpoint"
        async with aiohttp.ClientSession() as http:
            ready = await subject.engine.is_ready(http, subject.endpoint)
            assert ready is not None
            yield Service(
                subject=subject,
                http=http,
                endpoint=subject.endpoint,
                chunk=write_spool(subject.speech, folder / "speech.f32"),
                ready=ready,
            )

    def test_options_have_defaults_and_refuse_unknown_names(self, subject: Subject) -> None:
        """A misspelt option must not pass for a set one; what is needed the subject gives."""
        options = _options(subject)
        assert subject.engine.Options.model_validate(options.model_dump()) == options
        with pytest.raises(ValidationError, match="no_such_option"):
            subject.engine.Options.model_validate({**subject.options, "no_such_option": 1})

    def test_capabilities_are_whole_and_the_same_each_time(self, subject: Subject) -> None:
        """The router checks requests against them before any process runs."""
        options = _options(subject)
        found = subject.engine.capabilities(options)
        assert found == subject.engine.capabilities(options)
        assert Task.TRANSCRIBE in found.tasks
        assert found.concurrency >= 1
        assert found.accelerators

    @pytest.mark.asyncio
    async def test_a_probe_tells_something(self, subject: Subject) -> None:
        """An engine need not have one; what it tells is printed as it is."""
        if isinstance(subject.engine, ProbingEngine):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                told = await subject.engine.probe()
            assert told
            assert all(name.strip() and text.strip() for name, text in told.items())
            assert not any("\n" in text for text in told.values())

    @pytest.mark.asyncio
    async def test_ready_says_what_is_in_effect(self, subject: Subject, tmp_path: Path) -> None:
        """Accelerator and languages must be among those that the capabilities promise."""
        async with self.serving(subject, tmp_path) as service:
            promised = subject.engine.capabilities(_options(subject))
            assert service.ready.accelerator in promised.accelerators
            assert subject.language in service.ready.languages
            assert promised.languages is None or service.ready.languages <= promised.languages

    @pytest.mark.asyncio
    async def test_events_come_in_order_and_hold_the_speech(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """The worker first, the language once and before any segment, then the text."""
        async with self.serving(subject, tmp_path) as service:
            events = await service.events()
            check_order(events)
            check_segments(events, service.chunk)
            assert _languages(events) == [subject.language]
            if subject.text is not None:
                assert _text(events) == subject.text

    @pytest.mark.asyncio
    async def test_a_named_language_is_reported_back(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """Also then the language event comes, exactly once."""
        async with self.serving(subject, tmp_path) as service:
            events = await service.events(language=subject.language)
            check_order(events)
            assert _languages(events) == [subject.language]

    @pytest.mark.asyncio
    async def test_times_count_from_the_chunk(self, subject: Subject, tmp_path: Path) -> None:
        """A chunk from the middle of the file has times of its own."""
        async with self.serving(subject, tmp_path) as service:
            once = service.chunk.end
            twice = write_spool(subject.speech, tmp_path / "twice.f32", repeat=2)
            second = Chunk(path=twice.path, start=once, end=2 * once)
            events = await service.events(chunk=second, language=subject.language)
            check_segments(events, second)
            whole = await service.events(language=subject.language)
            assert _text(events) == _text(whole)

    @pytest.mark.asyncio
    async def test_words_and_logprobs_come_when_they_are_promised(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """Words are in order inside their segment; together they are the text."""
        promised = subject.engine.capabilities(_options(subject))
        async with self.serving(subject, tmp_path) as service:
            events = await service.events(
                language=subject.language, word_timestamps=True, logprobs=True
            )
        check_segments(events, service.chunk)
        for segment in segments_of(events):
            assert bool(segment.words) is promised.word_timestamps
            assert bool(segment.logprobs) is promised.logprobs
            check_words(segment)

    @pytest.mark.asyncio
    async def test_a_language_that_does_not_exist_is_refused(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """It is the caller's mistake, not the engine's failure."""
        async with self.serving(subject, tmp_path) as service:
            with pytest.raises(EngineRejected):
                await service.events(language="xx")

    @pytest.mark.asyncio
    async def test_audio_that_is_not_there_is_refused(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """A missing file and a range beyond the end; the engine serves on."""
        async with self.serving(subject, tmp_path) as service:
            missing = Chunk(path=tmp_path / "missing.f32", start=0, end=16_000)
            beyond = Chunk(path=service.chunk.path, start=0, end=service.chunk.end + 16_000)
            for bad in (missing, beyond):
                with pytest.raises(EngineRejected):
                    await service.events(chunk=bad)
            check_order(await service.events())

    @pytest.mark.asyncio
    async def test_closing_the_iterator_frees_the_worker(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """Minutes of audio are left alone; the next chunk must not wait for them."""
        async with self.serving(subject, tmp_path) as service:
            await service.events()  # what is done once at the first chunk shall not count
            begin = time.monotonic()
            await service.events()
            limit_s = PROMPT_S + 3 * (time.monotonic() - begin)  # a machine may be busy
            repeat = math.ceil(LONG_S / service.chunk.duration_s)
            long = write_spool(subject.speech, tmp_path / "long.f32", repeat=repeat)
            request = TranscriptionRequest(model="conformance")
            stream = subject.engine.transcribe(service.http, service.endpoint, long, request)
            async with asyncio.timeout(ANSWER_TIMEOUT_S), aclosing(stream) as events:  # type: ignore[type-var]
                assert isinstance(await anext(events), WorkerStarted)
            begin = time.monotonic()
            check_order(await service.events())
            assert time.monotonic() - begin < limit_s

    @pytest.mark.asyncio
    async def test_nobody_listening_is_no_fault_of_the_audio(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """Nothing was computed when a connection could not be made: the chunk may be sent again."""
        endpoint = make_endpoint(subject.engine.endpoint_kind, tmp_path)
        if subject.endpoint is not None:
            endpoint = replace(subject.endpoint, url=endpoint.url, socket=endpoint.socket)
        connector = aiohttp.UnixConnector(str(endpoint.socket)) if endpoint.socket else None
        chunk = write_spool(subject.speech, tmp_path / "speech.f32")
        request = TranscriptionRequest(model="conformance")
        async with aiohttp.ClientSession(connector=connector) as http:
            with pytest.raises(EngineInterrupted):
                await _drained(aiter(subject.engine.transcribe(http, endpoint, chunk, request)))


class SupervisedEngineConformance(EngineConformance):
    """What an engine with a process of its own does besides."""

    @asynccontextmanager
    async def serving(self, subject: Subject, folder: Path) -> AsyncIterator[Service]:
        """Start a process of the engine."""
        async with self.process(subject) as process:
            yield _service(subject, process, folder)

    @asynccontextmanager
    async def process(self, subject: Subject) -> AsyncIterator[Running]:
        """Start a process of the engine."""
        async with running(subject.engine, subject.model, _options(subject)) as process:
            yield process

    def test_launch_is_pure_and_matches_the_capabilities(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """The same arguments give the same command, and nothing is made on disk."""
        endpoint = make_endpoint(subject.engine.endpoint_kind, tmp_path)
        options = _options(subject)
        first = subject.engine.launch(Path("/no/such/model"), options, endpoint)
        assert first is not None
        assert first == subject.engine.launch(Path("/no/such/model"), options, endpoint)
        assert not any(tmp_path.iterdir())
        assert first.workers * first.processes == subject.engine.capabilities(options).concurrency

    @pytest.mark.asyncio
    async def test_a_killed_worker_is_an_interruption_and_the_next_chunk_is_served(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """The worker named by `WorkerStarted` is the one that runs the chunk.

        How a process ends that is a worker itself the router knows better than its engine.
        """
        async with self.process(subject) as process:
            service = _service(subject, process, tmp_path)
            leader = process.process.pid
            worker, error = await _ended_by(signal.SIGKILL, service, tmp_path, leader=leader)
            if worker == leader:
                assert await process.ended() == -signal.SIGKILL
            else:
                assert isinstance(error, EngineInterrupted)
                check_order(await service.events())

    @pytest.mark.asyncio
    async def test_a_worker_that_crashes_is_not_taken_for_a_killed_one(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """The chunk may be the reason, so it must not be sent again and again."""
        async with self.process(subject) as process:
            service = _service(subject, process, tmp_path)
            leader = process.process.pid
            worker, error = await _ended_by(signal.SIGSEGV, service, tmp_path, leader=leader)
            assert not isinstance(error, EngineInterrupted)
            if worker != leader:
                check_order(await service.events())

    @pytest.mark.asyncio
    async def test_the_end_of_stdin_ends_the_process(self, subject: Subject) -> None:
        """A router that is killed leaves no orphan."""
        async with self.process(subject) as process:
            process.end_stdin()
            await process.ended()

    @pytest.mark.asyncio
    async def test_sigterm_ends_the_process(self, subject: Subject) -> None:
        """The router's way to stop it must work without the last resort."""
        async with self.process(subject) as process:
            process.process.terminate()
            assert await process.ended() in (0, -signal.SIGTERM)

    @pytest.mark.asyncio
    async def test_a_file_that_is_no_model_is_one_clear_error(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        """The line that the user will read begins with `error: ` and names the file."""
        wrong = tmp_path / "wrong-model.bin"
        wrong.write_bytes(b"this is not a model\n" * 100)
        said = await start_error(subject.engine, wrong, _options(subject))
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert str(wrong) in lines[0]


def _service(subject: Subject, process: Running, folder: Path) -> Service:
    return Service(
        subject=subject,
        http=process.http,
        endpoint=process.endpoint,
        chunk=write_spool(subject.speech, folder / "speech.f32"),
        ready=process.ready,
    )


def _options(subject: Subject) -> Any:
    return subject.engine.Options.model_validate(dict(subject.options))


async def _ended_by(
    signum: signal.Signals, service: Service, folder: Path, *, leader: int
) -> tuple[int, EngineCrashed]:
    """End a worker in the middle of a long chunk; return its pid and what the engine raised.

    A worker that has no pid of its own is the process itself.
    """
    engine, repeat = service.subject.engine, math.ceil(LONG_S / service.chunk.duration_s)
    long = write_spool(service.subject.speech, folder / "long.f32", repeat=repeat)
    request = TranscriptionRequest(model="conformance")
    stream = aiter(engine.transcribe(service.http, service.endpoint, long, request))
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        started = await anext(stream)
        assert isinstance(started, WorkerStarted)
        pid = leader if started.pid is None else started.pid
        # An engine may say so before it has sent anything, and an unsent chunk proves nothing.
        error, _ = await asyncio.gather(
            _drained(stream), end_at_work(pid, signum), return_exceptions=True
        )
    assert isinstance(error, EngineCrashed)
    return pid, error


async def _drained(stream: AsyncIterator[EngineEvent]) -> None:
    async for _ in stream:
        pass


def _languages(events: list[EngineEvent]) -> list[str]:
    return [event.code for event in events if isinstance(event, LanguageDetected)]


def _text(events: list[EngineEvent]) -> str:
    return "".join(segment.text for segment in segments_of(events)).strip()
