"""A client of the Realtime API that can also misbehave, and audio as such clients send it."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
import av
import numpy as np

from support.speech import floats, sample

TRANSCRIPTION = "conversation.item.input_audio_transcription"
PCM_BLOCK = 4800
"""A tenth of a second."""
Json = dict[str, Any]


def pcm24(name: str, *, silence_s: float = 0.0) -> bytes:
    """Return a bundled sample as 24 kHz mono s16le, with silence after it."""
    return _resampled(name, 24_000).astype("<i2").tobytes() + bytes(2 * round(24_000 * silence_s))


def g711(name: str, codec: str) -> bytes:
    """Return a bundled sample as `pcm_mulaw` or `pcm_alaw` at 8 kHz."""
    context = av.AudioCodecContext.create(codec, "w")
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    samples = _resampled(name, 8000).astype(np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _resampled(name: str, rate_hz: int) -> np.ndarray:
    return resampled((floats(sample(name).path) * 32_767).astype(np.int16), rate_hz)


def resampled(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return 16-bit samples at 16 kHz as samples at another rate."""
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 16_000
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([samples[:0], *(part.to_ndarray().reshape(-1) for part in parts)])


class RealtimeClient:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[Json] = []

    async def send(self, kind: str, **fields: object) -> None:
        """Send an event."""
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def update(self, include: Sequence[str] | None = None, **audio_input: object) -> Json:
        """Update the session; return what it is now."""
        session: Json = {"type": "transcription", "audio": {"input": audio_input}}
        if include is not None:
            session["include"] = include
        await self.send("session.update", session=session)
        return (await self.until("session.updated"))["session"]

    async def append(self, audio: bytes, block: int = PCM_BLOCK) -> None:
        """Send audio in blocks, as fast as it is taken."""
        for begin in range(0, len(audio), block):
            encoded = base64.b64encode(audio[begin : begin + block]).decode()
            await self.send("input_audio_buffer.append", audio=encoded)

    async def receive(self) -> Json:
        """Return the next event."""
        event = json.loads(await self.socket.receive_str())
        self.seen.append(event)
        return event

    async def until(self, *kinds: str) -> Json:
        """Return the next event of one of these types; an error that is not one of them raises."""
        while True:
            event = await self.receive()
            if event["type"] in kinds:
                return event
            assert event["type"] != "error", event

    async def completed(self) -> Json:
        """Return the next item that is complete."""
        return await self.until(f"{TRANSCRIPTION}.completed")

    async def error(self) -> Json:
        """Return the next event, which is an error."""
        event = await self.receive()
        assert event["type"] == "error", event
        return event["error"]


@contextlib.asynccontextmanager
async def realtime(
    http: aiohttp.ClientSession,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    protocols: Sequence[str] = (),
    created: str = "session.created",
    autoping: bool = True,
    **query: str,
) -> AsyncIterator[RealtimeClient]:
    """Connect to a server's base URL; the first event has come."""
    address = f"{url}/v1/realtime?{urlencode(query)}"
    async with http.ws_connect(
        address, headers=headers, protocols=protocols, max_msg_size=0, autoping=autoping
    ) as socket:
        client = RealtimeClient(socket)
        assert (await client.receive())["type"] == created
        yield client
