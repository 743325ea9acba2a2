"""Where somebody speaks in a file, without recognising what."""

import asyncio
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from whisper_router.audio.media import Heard, Span, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.pipeline.transcribe import MediaSource


class SpeechFinder:
    """Has media workers listen to whole files."""

    def __init__(self, media: MediaPool, spool: Spool) -> None:
        self._media, self._spool = media, spool

    async def find(
        self, media: MediaSource, vad: VadOptions, *, longest_s: float = math.inf
    ) -> Sequence[Span]:
        """Return the stretches of speech in order; longer ones than `longest_s` are cut.

        Raises:
            RouterError: as `MediaPool.prepare`.
        """
        pauses: list[Span] = []

        def heard(piece: Heard) -> None:
            if piece.found is not None:
                pauses.extend(piece.found.pauses)

        target = self._spool.new_path(".f32")
        try:
            audio = await self._media.prepare(
                media.path, target, pcm=media.pcm, vad=vad, heard=heard
            )
        finally:
            await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))
        return [part for span in audio.speech or () for part in cut(span, pauses, longest_s)]


def cut(span: Span, pauses: Sequence[Span], longest_s: float) -> Iterator[Span]:
    """Yield a stretch in parts of at most `longest_s`: cut at its last pause, or where it must be.

    `pauses` are in order.
    """
    starts_s = [pause.start_s for pause in pauses]
    start_s = span.start_s
    while span.end_s - start_s > longest_s:
        at = bisect_right(starts_s, start_s + longest_s) - 1
        if at >= 0 and pauses[at].start_s > start_s and pauses[at].end_s < span.end_s:
            yield Span(start_s=start_s, end_s=pauses[at].start_s)
            start_s = pauses[at].end_s
        else:
            yield Span(start_s=start_s, end_s=start_s + longest_s)
            start_s += longest_s
    yield Span(start_s=start_s, end_s=span.end_s)
