"""Names of figures: conventions, documentation, dashboard and alerts."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from whisper_router.api.metrics import Snapshot, families
from whisper_router.engine_api import ReadyInfo
from whisper_router.metrics import NAMESPACE, REGISTRY
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.status import PoolBrief

ROOT = Path(__file__).parents[1]
DOCS = (
    (ROOT / "docs" / "operations.md")
    .read_text("utf-8")
    .partition("## Metrics")[2]
    .partition("\n## ")[0]
)
ALERTS = (ROOT / "config" / "prometheus" / "alerts.yml").read_text("utf-8")
DASHBOARD = (ROOT / "config" / "grafana" / "whisper-router.json").read_text("utf-8")
SUFFIXES = ("_bucket", "_count", "_sum", "_total")
BRIEF = PoolBrief(
    state=State.READY,
    requested=None,
    ready=ReadyInfo(accelerator="cpu", languages=frozenset()),
    start_error=None,
    last_error=None,
    memory_bytes=7,
    gpu_memory_bytes=0,
    breaker=BreakerState.CLOSED,
    starts=2,
    crashes=1,
)
NOW = Snapshot(
    version="1",
    requests=1,
    waiting={"a": 1},
    running={"a": 1},
    certificate_expires_s=2e9,
    rejected_files={"keys": True},
    live={"a": 1},
    jobs={"queued": 1},
    briefs={"a": BRIEF},
)


def all_families() -> list[Metric]:
    return [*REGISTRY.collect(), *families(NOW)]


def bare(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


@pytest.mark.parametrize("family", all_families(), ids=lambda family: family.name)
def test_every_figure_is_named_and_documented(family: Metric):
    """With our prefix, a unit that Prometheus knows, a sentence and a row in the docs."""
    assert family.name.startswith(f"{NAMESPACE}_")
    assert not re.search("_(ms|millis|minutes|percent|mib)$", family.name)
    assert family.documentation.endswith(".")
    assert f"`{family.name.removeprefix(NAMESPACE + '_')}`" in DOCS


def test_no_figure_is_documented_that_is_not_there():
    rows = [line.split("`")[1] for line in DOCS.splitlines() if line.startswith("| `")]
    names = {family.name.removeprefix(f"{NAMESPACE}_") for family in all_families()}
    assert set(rows) == names


@pytest.mark.parametrize("text", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_alerts_and_dashboard_ask_for_what_there_is(text: str):
    known = {family.name for family in all_families()}
    asked = {bare(name) for name in re.findall(rf"\b{NAMESPACE}_[a-z_]+", text)}
    assert asked
    assert asked <= known


def test_the_dashboard_shows_every_figure():
    shown = {bare(name) for name in re.findall(rf"\b{NAMESPACE}_[a-z_]+", DASHBOARD)}
    left_out = {family.name for family in all_families()} - shown
    assert left_out == {f"{NAMESPACE}_build_info"}
    assert len(json.loads(DASHBOARD)["panels"]) > 10


def test_nothing_is_counted_in_the_librarys_own_registry():
    """Two programs in one process do not meet there."""
    assert isinstance(REGISTRY, CollectorRegistry)
    assert all(family.name.startswith(NAMESPACE) for family in REGISTRY.collect())
