"""What clients of Wyoming do, with the library's own client."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import numpy as np
from wyoming.asr import Transcribe, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event

from support.server import ServerProcess
from support.speech import sample

CHUNK_BYTES = 2048
"""What Home Assistant sends at a time: 64 ms."""
PLAIN = (16_000, 2, 1)
"""Rate, width and channels."""

Form = tuple[int, int, int]


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[AsyncClient]:
    """Connect the library's client."""
    async with AsyncClient.from_uri(uri) as client:
        yield client


def uri_of(server: ServerProcess) -> str:
    """Return where a server listens for Wyoming."""
    return str(server.wait_for_log("wyoming_listening")["uri"])


def audio(name: str, form: Form) -> bytes:
    """Return a bundled sample as raw samples of that format."""
    rate, width, channels = form
    layout = {1: "mono", 2: "stereo"}[channels]
    resampler = av.AudioResampler(format="dbl", layout=layout, rate=rate)
    with av.open(sample(name).path) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    frames += resampler.resample(None)
    samples = np.clip(np.concatenate([frame.to_ndarray()[0] for frame in frames]), -1, 1)
    if width == 1:
        return (samples * 127 + 128).astype(np.uint8).tobytes()
    whole = (samples * (2**31 - 1)).astype("<i4")
    return whole.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()


async def begin(client: AsyncClient, *, form: Form = PLAIN, **order: object) -> None:
    """Ask for a transcription."""
    rate, width, channels = form
    await client.write_event(Transcribe(**order).event())  # type: ignore[arg-type]
    await client.write_event(AudioStart(rate, width, channels).event())


async def send(
    client: AsyncClient, data: bytes, *, form: Form = PLAIN, size: int = CHUNK_BYTES
) -> None:
    """Send audio as fast as it is taken."""
    rate, width, channels = form
    for at in range(0, len(data), size):
        await client.write_event(AudioChunk(rate, width, channels, data[at : at + size]).event())


async def stop(client: AsyncClient) -> None:
    """End the audio."""
    await client.write_event(AudioStop().event())


async def dictate(
    client: AsyncClient,
    data: bytes,
    *,
    form: Form = PLAIN,
    size: int = CHUNK_BYTES,
    **order: object,
) -> list[Event]:
    """Have audio transcribed; return what the server tells."""
    await begin(client, form=form, **order)
    await send(client, data, form=form, size=size)
    await stop(client)
    return await told(client)


async def told(client: AsyncClient) -> list[Event]:
    """Return what comes until the text is complete, or there is an error, or nothing more comes."""
    events: list[Event] = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if TranscriptStop.is_type(event.type) or Error.is_type(event.type):
            break
    return events


def kinds(events: list[Event]) -> list[str]:
    """Return what kinds of events these are."""
    return [event.type for event in events]


def text_in(events: list[Event]) -> str:
    """Return the text of the only transcript."""
    (event,) = [event for event in events if event.type == "transcript"]
    return str(event.data["text"])


def chunks_in(events: list[Event]) -> list[str]:
    """Return the pieces that were streamed."""
    return [str(event.data["text"]) for event in events if event.type == "transcript-chunk"]


def raw(uri: str) -> socket.socket:
    """Connect a plain socket."""
    host, _, port = uri.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)
