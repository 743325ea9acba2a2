"""What webhooks are told, in the words of the API that a job came through."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from whisper_router.api import job_body
from whisper_router.api.deps import Dialect
from whisper_router.api.dialects import insanely_fast_whisper, whisperx
from whisper_router.domain import Transcript
from whisper_router.jobs.model import Job

Notice = Callable[[Job, Transcript | None], dict[str, Any]]

NOTICES: Mapping[str, Notice] = MappingProxyType(
    {
        Dialect.INSANELY_FAST_WHISPER.value: insanely_fast_whisper.notice,
        Dialect.WHISPERX.value: whisperx.notice,
    }
)


def notice(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    """Return the body of the webhook of an ended job."""
    write = NOTICES.get(str(job.options.get("dialect")), job_body.notice)
    return write(job, transcript)
