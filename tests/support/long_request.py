"""A streamed request for a long file, watched from outside, and left once enough was seen."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support.processes import begun

ENDED = {"done", "failed"}
LEAVE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a request's progress said `at_s` after its upload began; all others are audio's."""

    at_s: float
    stage: str
    decoded_s: float
    speech_s: float
    done_s: float
    duration_s: float | None

    @property
    def is_decoded(self) -> bool:
        """All of the audio is decoded, and searched for speech."""
        return self.duration_s is not None and 0 < self.duration_s <= self.decoded_s


class LongRequest:
    """A file on its way through a server; `first_delta_s` is there once text has come."""

    def __init__(self, http: aiohttp.ClientSession, name: str) -> None:
        self._http, self._name = http, name
        self._began_s = time.perf_counter()
        self.first_delta_s: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def send(self, path: Path) -> None:
        """Send the file and read its transcript to the end."""
        form = aiohttp.FormData({"model": "demo", "stream": "true"})
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name)
            headers = {"X-Progress-ID": self._name}
            url = "/v1/audio/transcriptions"
            async with self._http.post(url, data=form, headers=headers) as response:
                assert response.status == 200, await response.text()
                async for line in response.content:
                    if b"transcript.text.delta" in line and not self.first_delta_s.done():
                        self.first_delta_s.set_result(self._elapsed_s())

    async def progress(self) -> AsyncGenerator[Moment, None]:
        """Yield what the server says of the request, until it has ended."""
        headers = {"Accept": "text/event-stream"}
        while True:
            async with self._http.get(f"/v1/progress/{self._name}", headers=headers) as response:
                if response.status == 200:
                    async for line in response.content:
                        if line.startswith(b"data: "):
                            yield self._moment(json.loads(line[6:]))
                    return
            await asyncio.sleep(0.005)  # the request has not arrived yet

    async def ended(self) -> None:
        """Return once the server has let go of the request."""
        async for moment in self.progress():
            if moment.stage in ENDED:
                return

    def _moment(self, report: dict[str, Any]) -> Moment:
        return Moment(
            at_s=self._elapsed_s(),
            stage=report["stage"],
            decoded_s=report.get("decoded_seconds", 0.0),
            speech_s=report.get("speech_seconds", 0.0),
            done_s=report["done_seconds"],
            duration_s=report.get("duration_seconds"),
        )

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self._began_s


@asynccontextmanager
async def long_request(
    http: aiohttp.ClientSession, path: Path, *, name: str
) -> AsyncIterator[LongRequest]:
    """Send `path` under the id `name`; at the end of the block its client leaves."""
    request = LongRequest(http, name)
    sending = begun(request.send(path))
    try:
        yield request
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        async with asyncio.timeout(LEAVE_S):
            await request.ended()
