"""What is streamed has the words that the same recording has as a file."""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import aiohttp

from support.audio_files import wav
from support.client import ask, session
from support.live_client import connected, last, send
from support.phrases import joined_phrases, phrases
from support.processes import begun
from support.server import running_server
from support.speech import floats, samples
from support.word_errors import word_errors

FILES = int(os.environ.get("LIVE_FILES", "10"))
AT_ONCE = 2
SEED = 20
ENGLISH = {"language": "en"}
MOST_ERRORS = 0.02
"""Words that may differ, of all that the file API hears."""
LONGEST_S = 10.0
"""Of the bundled samples: a minute of speech is streamed by another test."""
CONFIG = """
default_model = "demo"
[models.demo]
model = "demo"
workers = 2
"""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One recording's words as a file and as a stream."""

    name: str
    filed: Sequence[str]
    streamed: Sequence[str]

    @property
    def errors(self) -> int:
        return word_errors(self.filed, self.streamed)


def recordings(folder: Path) -> dict[Path, dict[str, str]]:
    """Return files and what is asked of them; languages other than English have to be found."""
    found: dict[Path, dict[str, str]] = {
        sample.path: ENGLISH if sample.language == "en" else {}
        for sample in samples()
        if sample.channels == 1 and sample.text and sample.seconds <= LONGEST_S
    }
    dice, made = random.Random(SEED), phrases(folder, seed=SEED, words=range(2, 6))
    while len(found) < FILES:
        audio = joined_phrases([*islice(made, 2)], gap_s=dice.uniform(0.35, 1.2)).audio
        path = folder / f"phrases_{len(found)}.wav"
        path.write_bytes(wav(audio, 16_000))
        found[path] = ENGLISH
    return found


async def pair(http: aiohttp.ClientSession, url: str, path: Path, fields: dict[str, str]) -> Pair:
    """Send a recording as a file and as a stream."""
    status, body = await ask(http, url, path, model="demo", **fields)
    assert status == 200, body
    query = {"model": "demo", "no_data_s": "0", "inactivity_s": "0"} | fields
    async with connected(http, url, **query) as socket:
        sending = begun(send(socket, (floats(path) * 32767).astype("<i2").tobytes()))
        streamed = (await last(socket))["text"]
        await sending
    return Pair(name=path.stem, filed=body["text"].split(), streamed=streamed.split())


async def pairs(url: str, files: dict[Path, dict[str, str]]) -> list[Pair]:
    """Send all recordings, so many at once."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(path: Path, fields: dict[str, str]) -> Pair:
        async with turn:
            return await pair(http, url, path, fields)

    async with session() as http:
        return await asyncio.gather(*(in_turn(*file) for file in files.items()))


async def test_a_stream_has_the_words_of_the_file(tmp_path):
    """Ten recordings (`LIVE_FILES`) in four languages: at most two words of a hundred differ."""
    files = await asyncio.to_thread(recordings, tmp_path)
    with running_server(tmp_path, config=CONFIG) as server:
        found = await pairs(server.url, files)
    for each in found:
        if each.errors:
            print(
                f"{each.name}\n  file   {' '.join(each.filed)}\n  stream {' '.join(each.streamed)}"
            )
    words, errors = sum(len(each.filed) for each in found), sum(each.errors for each in found)
    print(f"{errors} of {words} words differ, in {len(found)} files")
    assert len(found) == FILES
    assert words > 4 * FILES
    assert errors <= MOST_ERRORS * words
