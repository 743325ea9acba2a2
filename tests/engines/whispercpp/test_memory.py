"""Workers share their weights."""

import asyncio

import pytest

from support.speech import DEMO_MODEL, sample
from support.whispercpp_ggml import as_f16, random_model, read
from support.whispercpp_memory import forked, pss_bytes, separate, use_every_worker
from whisper_router.testing.harness import write_spool

pytestmark = pytest.mark.alone

WORKERS = 2


async def test_forked_workers_need_less_memory_than_separate_processes(tmp_path):
    """Two workers of a tiny-sized model after work; tests/bench has four of a base-sized one."""
    template = as_f16(read(DEMO_MODEL))
    model = random_model(template, width=384, layers=4, ends_at_once=True)
    path = model.write(tmp_path / "ggml-random.bin")
    chunk = write_spool(sample("en_hello_gb").path, tmp_path / "speech.f32")
    used = []
    async with asyncio.timeout(60):
        for start in (forked, separate):
            async with start(path, WORKERS) as processes:
                await use_every_worker(processes, chunk, WORKERS)
                used.append(pss_bytes(processes))
    assert used[0] < 0.75 * used[1]
