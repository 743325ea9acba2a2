"""Clients of live sessions with every kind of manners, for long runs.

A kind of client is a coroutine function that holds one session, decided by dice. Kinds of other
dialects can stand beside those here in `KINDS`.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from support.live_client import connected, last, pcm
from support.phrases import joined_phrases, phrases
from support.processes import begun
from support.realtime_client import RealtimeClient, realtime, resampled
from support.speech import samples
from support.word_errors import word_errors
from whisper_router.api.realtime.config import TENTATIVE

RATE_HZ = 16_000
LONGEST_S = 10.0
MOST_BYTES = 9_000
"""Of one message; half of them have an odd number, so samples come in two halves."""
MOST_ERRORS = 0.25
"""Of a recording's words: some of them are hard for the bundled model, one word is allowed."""
STALL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Something to say, and what it means."""

    name: str
    text: str
    pcm: bytes

    @property
    def seconds(self) -> float:
        return round(len(self.pcm) / 2 / RATE_HZ, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How one session went. `heard_s`: all audio that a session which was finished must have."""

    deed: str
    request_id: str
    heard_s: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where sessions are held: a server, and what may be said to it."""

    http: aiohttp.ClientSession
    url: str
    speeches: Sequence[Speech]


Kind = Callable[[Stage, random.Random], Awaitable[Held]]


def speeches(folder: Path, *, seed: int) -> list[Speech]:
    """Return the short bundled samples, and longer ones with pauses in them."""
    found = [
        Speech(name=sample.path.stem, text=sample.text, pcm=pcm(sample.path.stem))
        for sample in samples()
        if sample.channels == 1 and sample.seconds <= LONGEST_S
    ]
    made = phrases(folder, seed=seed, words=range(2, 9))
    for number in range(3):
        phrase = joined_phrases([next(made) for _ in range(3)])
        data = (phrase.audio * 32767).astype("<i2").tobytes()
        found.append(Speech(name=f"phrases {number}", text=phrase.text, pcm=data))
    return found


async def socket_client(stage: Stage, dice: random.Random) -> Held:
    """Hold one session over `WS /v1/audio/transcriptions`."""
    speech, request_id = dice.choice(stage.speeches), uuid.uuid4().hex
    deed = dice.choice([finish, finish, finish, close, vanish, stall, garbage])
    query = {"response_format": "verbose_json", "no_data_s": "0", "inactivity_s": "0"}
    query["interim"] = dice.choice(["true", "false"])
    headers = {"X-Request-ID": request_id}
    async with connected(stage.http, stage.url, headers=headers, **query) as socket:
        said = await deed(socket, speech, dice)
    return Held(
        deed=deed.__name__,
        request_id=request_id,
        heard_s=speech.seconds if deed is finish else None,
        problem=said and f"{speech.name}: {said}",
    )


async def realtime_client(stage: Stage, dice: random.Random) -> Held:
    """Hold one session over `WS /v1/realtime`: the turns are found there, or the client commits."""
    speech, request_id = dice.choice(stage.speeches), uuid.uuid4().hex
    deed = dice.choice([commit, commit, commit, close_realtime, vanish_realtime])
    headers = {"X-Request-ID": request_id}
    async with realtime(stage.http, stage.url, headers=headers) as client:
        said = await deed(client, speech, dice)
    return Held(
        deed=deed.__name__,
        request_id=request_id,
        heard_s=speech.seconds if deed is commit else None,
        problem=said and f"{speech.name}: {said}",
    )


KINDS: Sequence[Kind] = (socket_client, realtime_client)

Socket = aiohttp.ClientWebSocketResponse


async def finish(socket: Socket, speech: Speech, dice: random.Random) -> str | None:
    """Say everything and wait for all of it; return what is wrong with that."""
    speaking = begun(speak(socket, speech.pcm, dice, is_all=True))
    body = await last(socket)
    await speaking
    return judged(body, speech, socket.close_code)


async def commit(client: RealtimeClient, speech: Speech, dice: random.Random) -> str | None:
    """Say everything, commit it and wait for the transcript; return what is wrong with that."""
    await client.update(turn_detection=None)
    speaking = begun(append(client, speech.pcm, dice, is_all=True))
    done = await client.completed()
    await speaking
    said, heard = speech.text.split(), done["transcript"].split()
    if word_errors(said, heard) > max(1, MOST_ERRORS * len(said)):
        return f"'{' '.join(heard)}' is not '{speech.text}'"
    if abs(done["usage"]["seconds"] - speech.seconds) > 0.001:
        return f"{done['usage']['seconds']} s were heard of {speech.seconds}"
    return None


async def close_realtime(client: RealtimeClient, speech: Speech, dice: random.Random) -> None:
    """Leave in the middle of a turn, and say so."""
    await client.update(include=[TENTATIVE])
    await append(client, part(speech, dice), dice)
    await client.socket.close()


async def vanish_realtime(client: RealtimeClient, speech: Speech, dice: random.Random) -> None:
    """Leave in the middle of a turn without a word."""
    await client.update()
    await append(client, part(speech, dice), dice)
    transport(client.socket).abort()


async def append(
    client: RealtimeClient, data: bytes, dice: random.Random, *, is_all: bool = False
) -> None:
    """Send audio as 24 kHz samples in events of any size, up to four times the speed of speech."""
    samples = np.frombuffer(data[: len(data) & ~1], dtype="<i2")
    audio = resampled(samples, 24_000).tobytes() if len(samples) else b""
    speed, clock = dice.uniform(1, 4), asyncio.get_running_loop().time
    began_s, sent = clock(), 0
    while sent < len(audio):
        piece = audio[sent : sent + dice.randint(1, MOST_BYTES)]
        sent += len(piece)
        await asyncio.sleep(began_s + sent / 48_000 / speed - clock())
        await client.append(piece, len(piece))
    if is_all:
        await client.send("input_audio_buffer.commit")


def judged(body: dict, speech: Speech, close_code: int | None) -> str | None:
    """Return what is wrong with the last message, if anything is."""
    said, heard = speech.text.split(), body["text"].split()
    if word_errors(said, heard) > max(1, MOST_ERRORS * len(said)):
        return f"'{' '.join(heard)}' is not '{speech.text}'"
    if body["duration"] != speech.seconds:
        return f"{body['duration']} s were heard of {speech.seconds}"
    return None if close_code == aiohttp.WSCloseCode.OK else f"closed with {close_code}"


async def close(socket: Socket, speech: Speech, dice: random.Random) -> None:
    """Leave in the middle, and say so."""
    await speak(socket, part(speech, dice), dice)
    await socket.close()


async def vanish(socket: Socket, speech: Speech, dice: random.Random) -> None:
    """Leave in the middle without a word."""
    await speak(socket, part(speech, dice), dice)
    transport(socket).abort()


async def stall(socket: Socket, speech: Speech, dice: random.Random) -> None:
    """Go on speaking, but listen to nothing, and leave."""
    transport(socket).pause_reading()
    await speak(socket, part(speech, dice), dice)
    await asyncio.sleep(dice.uniform(0, STALL_S))
    transport(socket).abort()


async def garbage(socket: Socket, speech: Speech, dice: random.Random) -> str | None:
    """Send what is no audio; the server closes with the code for it."""
    await speak(socket, part(speech, dice), dice)
    if dice.random() < 0.5:
        await socket.send_str("{}")
        code = aiohttp.WSCloseCode.UNSUPPORTED_DATA
    else:
        transport(socket).write(b"\xff" * 64)
        code = aiohttp.WSCloseCode.PROTOCOL_ERROR
    async for _ in socket:
        pass
    return None if socket.close_code == code else f"closed with {socket.close_code}, not {code}"


async def speak(socket: Socket, data: bytes, dice: random.Random, *, is_all: bool = False) -> None:
    """Send audio in messages of any size, at the speed of speech or up to four times that."""
    speed, clock = dice.uniform(1, 4), asyncio.get_running_loop().time
    began_s, sent = clock(), 0
    while sent < len(data):
        piece = data[sent : sent + dice.randint(1, MOST_BYTES)]
        sent += len(piece)
        await asyncio.sleep(began_s + sent / 2 / RATE_HZ / speed - clock())
        await socket.send_bytes(piece)
    if is_all:
        await socket.send_bytes(b"")


def part(speech: Speech, dice: random.Random) -> bytes:
    """Return what was said when somebody leaves; also a half sample."""
    return speech.pcm[: dice.randint(0, len(speech.pcm))]


def transport(socket: Socket) -> asyncio.Transport:
    """Return the connection itself."""
    return socket._response.connection.transport
