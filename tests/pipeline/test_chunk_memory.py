"""A memory that remembers nothing. Those that do: tests/pipeline/test_series.py, tests/jobs."""

from whisper_router.domain import LanguageDetected
from whisper_router.pipeline.chunk_memory import NO_MEMORY
from whisper_router.pipeline.plan import PlannedChunk


async def test_a_request_that_is_no_job_remembers_nothing():
    """Each of its chunks is run."""
    planned = PlannedChunk(start=0, end=1)
    await NO_MEMORY.keep(planned, [LanguageDetected(code="en", probability=1.0)])
    assert await NO_MEMORY.recall(planned) is None
