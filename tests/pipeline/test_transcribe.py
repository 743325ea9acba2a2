"""One request through real media workers and an engine of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from support.audio_files import SAMPLES, floats_of, wav
from support.program_engine import ProcesslessEngine, ProgramOptions
from whisper_router.api.dialects.whisperx_form import parse_form
from whisper_router.api.forms import parse_order
from whisper_router.audio.media import MediaLimits, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import Chunk, Segment, Task, TranscriptionRequest
from whisper_router.engine_api import EngineEvent
from whisper_router.errors import InvalidParameter
from whisper_router.pipeline.chunk import ChunkBudget
from whisper_router.pipeline.progress import ProgressBoard, Stage
from whisper_router.pipeline.stages import Stages
from whisper_router.pipeline.transcribe import ChunkOptions, MediaSource, Transcriber, collect
from whisper_router.plugins import load_alignments
from whisper_router.scheduling.dispatch import Dispatchers, QueueLimits
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks


class SilentOnLanguage(ProcesslessEngine):
    """Hears one word in every chunk and never says in which language."""

    async def transcribe(
        self, http, endpoint, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncIterator[EngineEvent]:
        yield Segment(start_s=0.0, end_s=0.5, text=" word")


LIMITS = QueueLimits(max_chunks=100, max_requests=100, timeout_s=30.0)


@pytest.fixture
async def transcriber(tmp_path) -> AsyncIterator[Transcriber]:
    """A pipeline with one alias, `any`."""
    async with contextlib.AsyncExitStack() as stack:
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        spool = stack.enter_context(await asyncio.to_thread(Spool.create, tmp_path / "spool"))
        media = MediaPool(workers=1, limits=MediaLimits(), tasks=tasks)
        stack.push_async_callback(media.close)
        await media.start()

        async def weights():
            return tmp_path / "weights"

        spec = PoolSpec(
            alias="any",
            engine=SilentOnLanguage(),
            options=ProgramOptions(),
            model=weights,
            supervision=SupervisionOptions(
                start_silence_s=5, start_limit_s=5, stop_grace_s=1, idle_unload_s=None
            ),
        )
        supervisor = Supervisor([spec], run_dir=tmp_path / "run", tasks=tasks)
        await supervisor.open()
        stack.push_async_callback(supervisor.close, deadline_s=5)
        yield Transcriber(
            media=media,
            spool=spool,
            dispatcher_of=Dispatchers(supervisor.pool, LIMITS),
            options=ChunkOptions(
                vad=VadOptions(),
                vad_by_default=True,
                max_silence_s=5.0,
                budget=ChunkBudget(floor_s=10, factor=1),
            ),
            stages=Stages(engines=["program"], alignments=load_alignments()),
            tasks=tasks,
        )


async def test_an_engine_need_not_tell_the_language(transcriber, tmp_path):
    """The chunks after the first wait for it, but not for ever."""
    speech = floats_of(SAMPLES / "en_hello_gb.wav")
    path = tmp_path / "two.wav"
    path.write_bytes(
        wav(np.concatenate([speech, np.zeros(16_000 * 8, np.float32), speech]), 16_000)
    )
    request = TranscriptionRequest(model="any")
    async with asyncio.timeout(20):
        heard = await collect(transcriber.run(request, MediaSource(path=path)), request)
    assert (heard.text, heard.language) == ("word word", None)


async def test_a_request_that_was_left_has_failed(transcriber, tmp_path):
    """Nobody is told that it was done."""
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(floats_of(SAMPLES / "en_hello_gb.wav"), 16_000))
    board, request = ProgressBoard(), TranscriptionRequest(model="any")
    async with asyncio.timeout(20):
        with board.track("left", owner="") as tracker:
            events = transcriber.run(request, MediaSource(path=path), tracker)
            await anext(events)
            await events.aclose()
    assert tracker.report.stage is Stage.FAILED


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ([("align", "true")], "alignment"),
        ([("align", "true"), ("diarize", "true")], "diarization"),
    ],
)
async def test_words_that_the_engine_does_not_stamp_are_refused_at_once(transcriber, sent, param):
    """Before there is any audio, with the field that asks for them."""
    request = asked_of_whisperx(sent)
    with pytest.raises(InvalidParameter) as caught:
        transcriber.check(request)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_value")


async def test_words_that_nobody_asked_for_are_not_missed(transcriber, tmp_path):
    """WhisperX API server aligns unless it is told not to: by any model, if that can be done."""
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(floats_of(SAMPLES / "en_hello_gb.wav"), 16_000))
    request = asked_of_whisperx([])
    transcriber.check(request)
    async with asyncio.timeout(20):
        heard = await collect(transcriber.run(request, MediaSource(path=path)), request)
    assert heard.text == "word"


async def test_the_engine_of_the_model_may_be_named(transcriber):
    transcriber.check(TranscriptionRequest(model="any", transcription="program"))
    with pytest.raises(InvalidParameter, match="'program'") as caught:
        transcriber.check(TranscriptionRequest(model="any", transcription="whispercpp"))
    assert caught.value.param == "transcription"


def asked_of_whisperx(sent: list[tuple[str, str]]) -> TranscriptionRequest:
    form = parse_form([("model", "any"), *sent], Task.TRANSCRIBE)
    return parse_order(form.fields, task=Task.TRANSCRIBE).request
