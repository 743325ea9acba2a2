"""Records what the demo model answers to live sessions over bundled samples.

    python tests/support/record_live.py

Writes `tests/live/recorded.json`: for each sample, and for a fast and a slow engine, the
probabilities of speech and each hypothesis with its answer. Needed again only when the order in
which a session asks, or the demo model, changes.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from support.in_process import settings_in
from support.live_replay import OPTIONS, RECORDED, read, written
from support.speech import floats, sample
from whisper_router.app import Router, build_router
from whisper_router.audio.ear import Ears
from whisper_router.domain import Chunk, Lane, LanguageDetected, Segment, TranscriptionRequest
from whisper_router.live.session import Hypothesis, LiveSession
from whisper_router.live.turns import WINDOW
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.poison import Poison

SAMPLES = ("en_two_speakers_long", "de_digits", "silence")
TOOK_S = (0.1, 2.0)


async def main() -> None:
    """Record every sample at every speed."""
    with tempfile.TemporaryDirectory() as directory:
        async with build_router(settings_in(Path(directory))) as router:
            recorded = [
                await _record(router, Path(directory), name, took_s)
                for name in SAMPLES
                for took_s in TOOK_S
            ]
    RECORDED.write_text(json.dumps(recorded, ensure_ascii=False, separators=(",", ":")) + "\n")


async def _record(router: Router, directory: Path, name: str, took_s: float) -> dict[str, Any]:
    audio = floats(sample(name).path)
    audio = np.pad(audio, (0, -len(audio) % WINDOW))
    ears = Ears()
    probabilities = [round(p, 3) for p in await ears.open().hear(audio)]
    ears.close()
    session, answers = LiveSession(OPTIONS), []
    waits_s = []
    for at, probability in enumerate(probabilities):
        session.hear(audio[at * WINDOW : (at + 1) * WINDOW], [probability])
        if at + 1 == len(probabilities):
            session.cut()
        while (request := session.take_request()) is not None:
            began_s = time.monotonic()
            answer = await _ask(router, directory / "chunk.f32", session, request)
            waits_s.append(time.monotonic() - began_s)
            answers.append(answer)
            segments = [read(row) for row in answer["segments"]]
            session.answer(segments, language=answer["heard"], took_s=took_s)
    print(
        name, took_s, len(answers), "answers, mean", round(float(np.mean(waits_s or [0])), 3), "s"
    )
    return {
        "sample": name,
        "took_s": took_s,
        "probabilities": probabilities,
        "answers": answers,
    }


async def _ask(
    router: Router, path: Path, session: LiveSession, request: Hypothesis
) -> dict[str, Any]:
    session.samples(request).tofile(path)
    runner = ChunkRunner(router.dispatchers("demo"), ChunkBudget(floor_s=60, factor=10), Poison())
    order = TranscriptionRequest(
        model="demo",
        language=request.language,
        prompt=request.prompt,
        word_timestamps=True,
        lane=Lane.LIVE,
    )
    heard, segments = None, []
    chunk = Chunk(path=path, start=0, end=request.end - request.start)
    async for event in runner.run(chunk, order):
        match event:
            case LanguageDetected():
                heard = event.code
            case Segment():
                segments.append(written(event))
    return {
        "start": request.start,
        "end": request.end,
        "prompt": request.prompt,
        "language": request.language,
        "heard": heard,
        "segments": segments,
    }


if __name__ == "__main__":
    asyncio.run(main())
