"""The alert rules, and what `/metrics` says, before Prometheus' own checker."""

import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from support.client import ask, session
from support.server import running_server
from support.speech import sample

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "alerts.yml"
TESTS = Path(__file__).with_name("alerts_test.yml")


@pytest.fixture(scope="module")
def promtool() -> str:
    """Return its path; `make test` has fetched it, or pytest does the first time."""
    found = subprocess.run(
        [ROOT / "tools" / "promtool.sh"], capture_output=True, text=True, timeout=110, check=False
    )
    if found.returncode:
        pytest.skip(f"there is no promtool: {found.stderr}")
    return found.stdout.strip()


def run(promtool: str, *arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [promtool, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_are_well_formed(promtool):
    """Every one is found."""
    count = RULES.read_text(encoding="utf-8").count("- alert: ")
    assert f"SUCCESS: {count} rules found" in run(promtool, "check", "rules", str(RULES))


def test_each_rule_is_raised_when_it_should_be(promtool):
    """And not when all is well."""
    assert "SUCCESS" in run(promtool, "test", "rules", str(TESTS))
    names = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    tested = TESTS.read_text(encoding="utf-8")
    assert [name for name in names if len(re.findall(rf"\b{name}\b", tested)) < 2] == []


async def test_the_figures_of_a_real_server_are_well_formed(promtool, tmp_path):
    """Names, help texts and types as Prometheus wants them; and those that the rules ask for."""
    with running_server(tmp_path, config='default_model = "demo"\n') as server:
        async with session() as http:
            before = await figures(http, server.url)
            assert (await ask(http, server.url, sample("en_hello_gb").path))[0] == 200
            text = await figures(http, server.url)
    zeros = [
        'start_failures_total{alias="demo"}',
        'process_crashes_total{alias="demo"}',
        'webhook_calls_total{outcome="delivered"}',
        'downloads_total{outcome="failed"}',
    ]
    assert [name for name in zeros if f"whisper_router_{name} 0.0\n" not in before] == []
    said = run(promtool, "check", "metrics", text=text)
    assert said.strip() == ""
    asked = set(re.findall(r"whisper_router_\w+?(?=_total|_bucket)", RULES.read_text()))
    assert [name for name in sorted(asked) if f"# TYPE {name}" not in text] == []


async def figures(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(f"{url}/metrics") as answer:
        return await answer.text()
