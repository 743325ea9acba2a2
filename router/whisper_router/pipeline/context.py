"""The text before a chunk, as a prompt for it. Pure."""

from collections.abc import Iterable

from whisper_router.domain import Segment

MAX_CHARACTERS = 800
"""About the 224 tokens that Whisper reads of a prompt; what is longer is cut at its beginning."""
UNSURE_TEMPERATURE = 0.5
REPETITIVE_RATIO = 2.4


class CarriedText:
    """Collects what a request has heard so far.

    After a segment that the decoder was unsure of, or that repeats itself, it starts anew: such a
    text as a prompt makes the next one worse (openai-whisper's `transcribe` resets its prompt above
    temperature 0.5 too; 2.4 is its compression ratio threshold).
    """

    def __init__(self) -> None:
        self._text = ""

    def add(self, segments: Iterable[Segment]) -> None:
        """Append the texts of a chunk."""
        for segment in segments:
            if (
                segment.temperature > UNSURE_TEMPERATURE
                or segment.compression_ratio > REPETITIVE_RATIO
            ):
                self._text = ""
            else:
                self._text += segment.text
        self._text = self._text[-MAX_CHARACTERS:]

    def prompt(self, users: str) -> str:
        """Return the user's prompt and what was heard after it."""
        return f"{users} {self._text.strip()}".strip()
