"""Audio without speech gives no text, and a long silence moves nothing; on a real server."""

import io
from pathlib import Path
from typing import Any

import aiohttp

from support.client import ask, session, state_of
from support.engine_processes import engine_processes
from support.interrupted import Interruption, displacement_s, write_interrupted
from support.not_speech import NOT_SPEECH
from support.server import running_server

WITHOUT_SPEECH = (
    *("silence-short", "silence-mp3", "offset", "white-75", "white-20", "pink-40", "brown-20"),
    *("rain", "engine-idle", "hum-50", "siren-slow", "touch-tones"),
    *("piano-chords", "drums-fast", "band-quiet"),
    *("fan", "bass-line", "brass", "harp", "chirp-up"),  # the detector doubts them
)
TEN_MINUTES = Interruption(seconds=600)


async def test_audio_without_speech_gives_no_text_and_starts_no_engine(tmp_path):
    """Silence, noise, machines, telephones, music; `tests/bench/bench_silence.py` knows more."""
    with running_server(tmp_path, config='default_model = "demo"\n') as server:
        async with session() as http:
            for name in WITHOUT_SPEECH:
                path = NOT_SPEECH[name].write(tmp_path, name)
                status, answer = await ask(http, server.url, path)
                assert (status, answer["text"]) == (200, ""), name
            assert (await state_of(http, server.url, "demo"))["state"] == "stopped"
        assert engine_processes(server) == []


async def test_ten_minutes_of_silence_move_what_follows_by_ten_minutes(server, tmp_path):
    """A minute of speech keeps its words, and all its stamps to a fifth of a second."""
    alone, inside = [
        await stamped(server.url, write_interrupted(tmp_path / "speech.wav", interruption))
        for interruption in (Interruption(seconds=0), TEN_MINUTES)
    ]
    for kind in ("words", "segments"):
        assert len(alone[kind]) > 20
        assert displacement_s(alone[kind], inside[kind], TEN_MINUTES) <= 0.2


async def stamped(url: str, path: Path) -> dict[str, Any]:
    """Return the transcript of `path` with words and segments."""
    form = aiohttp.FormData({"model": "whisper-1", "response_format": "verbose_json"})
    for kind in ("word", "segment"):
        form.add_field("timestamp_granularities[]", kind)
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    url = f"{url}/v1/audio/transcriptions"
    async with session() as http, http.post(url, data=form) as response:
        assert response.status == 200
        return await response.json()
