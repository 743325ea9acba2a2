"""How long a spoken word takes to be shown and to be confirmed, for several sessions at a time.

Real-time speech over the real WebSocket. A word counts from where it ends, by the time stamps that
the file API gives the same audio; an utterance from where its speech ends and the
silence after it (`live.silence_s`) is over.

Usage: bench_live_latency.py [--sessions 1,2,4] [--modes full,fitted]
"""

import argparse
import asyncio
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

import aiohttp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.audio_files import wav
from support.live_client import connected, last, send
from support.phrases import phrases
from support.processes import begun
from support.server import ServerProcess, running_server
from support.speech import floats, sample
from support.word_errors import word_errors

RATE_HZ = 16_000
FRAME_S = 0.1
SILENCE_S = 0.5
"""The default of `live.silence_s`: so long after its speech an utterance may be known to end."""
PAUSE_S = 1.3
"""After each recording."""
LIMIT_S = 0.7
"""For the final text after speech and silence, one session (p95)."""
STAGGER_S = 0.83
SAMPLES = (("en_two_speakers_long", 29.5), ("en_digits_fast", 9.0), ("en_three_segments", 9.0))
"""Bundled samples, and how much of each at most."""
PHRASES, PHRASE_WORDS = 4, range(12, 15)
"""Besides: longer utterances without a pause."""
SURE_PAUSE_S = 0.95
"""Shorter ones do not end an utterance for sure."""
CONFIG = """
default_model = "full"
[models.full]
model = "demo"
workers = 2
[models.fitted]
model = "demo"
workers = 2
live_audio_ctx = "fitted"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What every session says: the words, those of the file API with their ends, and pauses."""

    pcm: bytes
    said: Sequence[str]
    words: Sequence[tuple[str, float]]
    ends: Sequence[tuple[int, float]]
    """For each pause: how many words came before it, and where their speech ends."""


@dataclass(slots=True, kw_only=True)
class Delays:
    """What one row of the table is made of, in seconds."""

    confirmed: list[float] = field(default_factory=list)
    tentative: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    lag: float = 0.0
    errors: int = 0
    words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a client knew `at_s` after its audio began."""

    at_s: float
    confirmed: Sequence[str]
    shown: Sequence[str]
    """The confirmed words and the tentative ones."""
    lag: float


def main() -> int:
    """Print a row for each number of sessions; 1 when one session's final text is late."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", default="1,2,4")
    parser.add_argument("--modes", default="full,fitted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(
            rows(Path(name), arguments.modes.split(","), [*map(int, arguments.sessions.split(","))])
        )


async def rows(folder: Path, modes: Sequence[str], counts: Sequence[int]) -> int:
    """Measure every row."""
    print(
        f"{'encoder':8} {'sessions':>8} {'words':>6} {'wrong':>6} {'confirmed p50':>14} {'p95':>6} "
        f"{'tentative p50':>14} {'p95':>6} {'final p50':>10} {'p95':>6} {'max':>6} {'lag max':>8}"
    )
    late = False
    with running_server(folder, config=CONFIG) as server:
        async with aiohttp.ClientSession() as http:
            speech = await reference(http, server, folder)
            for mode in modes:
                await heard_once(http, server, mode, speech)
                for count in counts:
                    delays = await together(http, server, mode, speech, count)
                    print(row(mode, count, delays), flush=True)
                    late |= count == 1 and percentile(delays.final, 95) > LIMIT_S
    return 1 if late else 0


async def reference(http: aiohttp.ClientSession, server: ServerProcess, folder: Path) -> Speech:
    """Return what is said, and where its words end by the file API."""
    said, pieces, ends_s, position = [], [], [], 0
    for text, audio, ends in recordings(folder):
        said += text.split()
        ends_s += [position / RATE_HZ + end_s for end_s in ends]
        piece = np.concatenate([audio, np.zeros(int(PAUSE_S * RATE_HZ), np.float32)])
        pieces.append(piece)
        position += len(piece)
    audio = np.concatenate(pieces)
    form = aiohttp.FormData({"model": "full", "response_format": "verbose_json"})
    form.add_field("timestamp_granularities[]", "word")
    form.add_field("file", io.BytesIO(wav(audio, RATE_HZ)), filename="speech.wav")
    async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
        assert response.status == 200, await response.text()
        words = [(word["word"], word["end"]) for word in (await response.json())["words"]]
    return Speech(
        pcm=(audio * 32767).astype("<i2").tobytes(),
        said=said,
        words=words,
        ends=[(sum(at_s < end_s + 0.3 for _, at_s in words), end_s) for end_s in ends_s],
    )


def recordings(folder: Path) -> list[tuple[str, np.ndarray, list[float]]]:
    """Return texts, their recordings, and the ends of speech before every sure pause."""
    found = []
    for name, most_s in SAMPLES:
        spans = [span for span in sample(name).segments if span[1] < most_s - 0.5]
        after_s = [span[0] for span in spans[1:]] + [most_s + PAUSE_S]
        ends = [
            span[1]
            for span, next_s in zip(spans, after_s, strict=True)
            if next_s - span[1] >= SURE_PAUSE_S
        ]
        text = " ".join(span[2] for span in spans)
        found.append((text, floats(sample(name).path)[: int(most_s * RATE_HZ)], ends))
    made = islice(phrases(folder, seed=3, words=PHRASE_WORDS), PHRASES)
    return found + [(phrase.text, phrase.audio, [len(phrase.audio) / RATE_HZ]) for phrase in made]


async def heard_once(
    http: aiohttp.ClientSession, server: ServerProcess, mode: str, speech: Speech
) -> None:
    """Have the engine loaded and every worker used."""
    async with (
        connected(http, server.url, model=mode) as one,
        connected(http, server.url, model=mode) as other,
    ):
        for socket in (one, other):
            await send(socket, speech.pcm[: 4 * RATE_HZ])
        for socket in (one, other):
            await last(socket)


async def together(
    http: aiohttp.ClientSession, server: ServerProcess, mode: str, speech: Speech, count: int
) -> Delays:
    """Let so many sessions say the same, one a little after the other."""
    delays = Delays()
    heard = await asyncio.gather(
        *(listened(http, server, mode, speech, number * STAGGER_S) for number in range(count))
    )
    for messages in heard:
        judge(speech, messages, delays)
    return delays


async def listened(
    http: aiohttp.ClientSession, server: ServerProcess, mode: str, speech: Speech, wait_s: float
) -> list[Message]:
    """Say everything at the speed of speech; return all that came back, and when."""
    await asyncio.sleep(wait_s)
    clock, messages = asyncio.get_running_loop().time, []
    query = {"model": mode, "interim": "true", "no_data_s": "0", "inactivity_s": "0"}
    async with connected(http, server.url, **query) as socket:
        began_s = clock()
        sending = begun(speak(socket, speech.pcm, began_s))
        async for item in socket:
            body = json.loads(item.data)
            confirmed = body["text"].split()
            messages.append(
                Message(
                    at_s=clock() - began_s,
                    confirmed=confirmed,
                    shown=[*confirmed, *body["tentative"].split()],
                    lag=body["lag"],
                )
            )
        await sending
    return messages


async def speak(socket: aiohttp.ClientWebSocketResponse, pcm: bytes, began_s: float) -> None:
    """Send each frame when its last sample was said, as a microphone does."""
    clock, size = asyncio.get_running_loop().time, 2 * int(FRAME_S * RATE_HZ)
    for number, begin in enumerate(range(0, len(pcm), size), start=1):
        await asyncio.sleep(began_s + number * FRAME_S - clock())
        await socket.send_bytes(pcm[begin : begin + size])
    await socket.send_bytes(b"")


def judge(speech: Speech, messages: Sequence[Message], delays: Delays) -> None:
    """Add what one session has waited for the words that it shares with the file API."""
    filed, heard = [word for word, _ in speech.words], messages[-1].confirmed
    confirmed_s: dict[int, float] = {}
    matcher = SequenceMatcher(None, filed, heard, autojunk=False)
    for begin, at, size in matcher.get_matching_blocks():
        for offset in range(size):
            end_s, index = speech.words[begin + offset][1], at + offset
            confirmed_s[begin + offset] = first(messages, index, heard[index], tentative=False)
            shown_s = first(messages, index, heard[index], tentative=True)
            delays.confirmed.append(confirmed_s[begin + offset] - end_s)
            delays.tentative.append(shown_s - end_s)
    delays.final += [
        confirmed_s[count - 1] - end_s - SILENCE_S
        for count, end_s in speech.ends
        if count - 1 in confirmed_s
    ]
    delays.lag = max([delays.lag, *(message.lag for message in messages)])
    delays.words += len(speech.said)
    delays.errors += word_errors(speech.said, heard)


def first(messages: Sequence[Message], index: int, word: str, *, tentative: bool) -> float:
    """Return when a word was first seen at its place."""
    for message in messages:
        words = message.shown if tentative else message.confirmed
        if len(words) > index and words[index] == word:
            return message.at_s
    raise AssertionError(word)


def percentile(values: Sequence[float], share: int) -> float:
    """Return a percentile of some values."""
    return float(np.percentile(values, share))


def row(mode: str, count: int, delays: Delays) -> str:
    """Return one line of the table, in milliseconds."""
    fields = [
        1000 * percentile(values, share)
        for values in (delays.confirmed, delays.tentative, delays.final)
        for share in (50, 95)
    ]
    return (
        f"{mode:8} {count:8} {delays.words:6} {delays.errors:6} {fields[0]:14.0f} {fields[1]:6.0f} "
        f"{fields[2]:14.0f} {fields[3]:6.0f} {fields[4]:10.0f} {fields[5]:6.0f} "
        f"{1000 * max(delays.final):6.0f} {delays.lag:8.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
