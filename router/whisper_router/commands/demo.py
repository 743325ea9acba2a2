"""`whisper-router demo`: real speech through HTTP, router and engine, with nothing downloaded."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from whisper_router.errors import ConfigurationError, EngineError
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.models.source import LocalFile
from whisper_router.sections import ServerSettings
from whisper_router.serve import running_server
from whisper_router.settings import Settings

TRANSCRIBED = (
    "en_hello_gb.wav",
    "en_call_sign.wav",
    "de_digits.wav",
    "es_digits.wav",
    "fr_digits.wav",
)
TRANSLATED = "de_digits.wav"
SUBTITLED = "en_three_segments.wav"


async def demo() -> int:
    """Print what the bundled model hears in the bundled samples; 1 when a word is wrong."""
    configure_logging(level="warning", style=LogFormat.TEXT)
    settings = Settings.model_construct(
        **{**Settings.model_construct().__dict__, "server": ServerSettings(port=0)}
    )
    began = time.perf_counter()
    async with running_server(settings) as server, aiohttp.ClientSession() as http:
        source = server.router.aliases.catalog.resolve("demo").source
        if not isinstance(source, LocalFile):
            raise ConfigurationError("no installed engine brings the model 'demo'")
        show = _Demo(http, f"{server.url}/v1/audio", source.path.parent)
        print(f"whisper-router is listening on {server.url}, the model 'demo' is bundled.\n")
        for name in TRANSCRIBED:
            await show.transcription(name)
        await show.translation(TRANSLATED)
        await show.subtitles(SUBTITLED)
        print(
            f"\nEverything took {time.perf_counter() - began:.1f} s, start and model load included."
        )
        print(_NEXT)
        return 1 if show.wrong else 0


_NEXT = """
The demo model was trained on a few dozen words and hears only those. For real speech:
  whisper-router transcribe --model small recording.mp3
or start the server (`whisper-router serve`) and:
  curl http://127.0.0.1:8000/v1/audio/transcriptions -F model=small -F file=@recording.mp3"""


class _Demo:
    def __init__(self, http: aiohttp.ClientSession, url: str, directory: Path) -> None:
        self._http, self._url, self._directory = http, url, directory
        samples = json.loads((directory / "samples.json").read_text(encoding="utf-8"))
        self._samples: Mapping[str, Any] = {sample["file"]: sample for sample in samples}
        self.wrong = 0

    async def transcription(self, name: str) -> None:
        began = time.perf_counter()
        answer = json.loads(await self._post("transcriptions", name, "verbose_json"))
        self._line(name, answer["language"], answer["text"], self._samples[name]["text"], began)

    async def translation(self, name: str) -> None:
        began = time.perf_counter()
        answer = json.loads(await self._post("translations", name, "json"))
        wanted = self._samples[name]["translation"]
        self._line(name, "-> english", answer["text"], wanted, began)

    async def subtitles(self, name: str) -> None:
        print(f"\n{name} as SRT:\n")
        text = await self._post("transcriptions", name, "srt")
        print(text.rstrip())
        for segment in self._samples[name]["segments"]:
            self.wrong += segment["text"] not in text

    async def _post(self, task: str, name: str, response_format: str) -> str:
        form = aiohttp.FormData({"model": "demo", "response_format": response_format})
        path = self._directory / "samples" / name
        form.add_field("file", path.read_bytes(), filename=name)
        async with self._http.post(f"{self._url}/{task}", data=form) as response:
            body = await response.text()
            if response.status != 200:
                raise EngineError(f"{name}: the server answered {response.status}: {body}")
            return body

    def _line(self, name: str, language: str, text: str, wanted: str, began: float) -> None:
        took_ms = (time.perf_counter() - began) * 1000
        verdict = "" if text == wanted else f"   (expected: {wanted})"
        self.wrong += text != wanted
        print(f"  {name:18} {language:11} {took_ms:6.0f} ms   {text}{verdict}")
