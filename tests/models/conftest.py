"""A hub, a store and what they share, for the tests of models."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from support.hub import Hub, isolate
from whisper_router.models.fetch_job import FetchLimits
from whisper_router.models.store import ModelStore, StoreConfig
from whisper_router.tasks import Tasks

QUICK = FetchLimits(stall_s=5.0, attempts=3, backoff_s=0.01)


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub, in an environment in which nothing leads anywhere else."""
    isolate(monkeypatch, tmp_path / "hf")
    async with Hub().running() as running:
        yield running


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """An owner of background tasks that ends them with the test."""
    owner = Tasks()
    yield owner
    await owner.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store keeps its files."""
    return tmp_path / "models"


@pytest.fixture
def make_store(hub: Hub, tasks: Tasks, directory: Path) -> Callable[..., ModelStore]:
    """Return a function that makes a store on the hub; its arguments are `StoreConfig`'s."""

    def make(**options: Any) -> ModelStore:
        fields = {"directory": directory, "endpoint": hub.url, "limits": QUICK} | options
        return ModelStore(config=StoreConfig(**fields), tasks=tasks)

    return make
