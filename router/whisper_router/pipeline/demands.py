"""Whether an engine can do what a request asks for, before any work is done. Pure."""

from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.engine_api import Capabilities
from whisper_router.errors import InvalidParameter


def check_demands(request: TranscriptionRequest, able: Capabilities) -> None:
    """Refuse what cannot be done.

    Raises:
        InvalidParameter: `unsupported_value`, with the parameter that asks for too much.
    """
    if request.task not in able.tasks:
        what = "translate" if request.task is Task.TRANSLATE else "transcribe"
        raise _unsupported(f"The model '{request.model}' cannot {what}.", "model")
    if request.language and able.languages is not None and request.language not in able.languages:
        heard = ", ".join(sorted(able.languages)[:100])
        raise _unsupported(
            f"The model '{request.model}' does not know the language '{request.language}'; "
            f"it knows: {heard}.",
            "language",
        )
    if request.word_timestamps and not able.word_timestamps:
        raise _unsupported(
            f"The model '{request.model}' stamps no words with times.", "timestamp_granularities[]"
        )
    if request.logprobs and not able.logprobs:
        raise _unsupported(f"The model '{request.model}' gives no log probabilities.", "include")


def _unsupported(message: str, param: str) -> InvalidParameter:
    return InvalidParameter(message, param=param, code="unsupported_value")
