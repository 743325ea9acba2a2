"""Jumps of the wall clock (NTP, a resumed laptop, an operator) end, unload and delay nothing."""

import ast
import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.client import ask, session
from support.engine_processes import engine_processes, worker_at_work
from support.processes import begun
from support.server import ServerProcess, running_server

LIMIT_S = 100
SOURCES = Path(__file__).parents[2]
LIBRARIES = Path("/usr/lib")
WALL_CLOCKS = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"}
TELLS_THE_DATE = {
    "router/whisper_router/directory.py": "`created` of a model, as OpenAI has it",
    "router/whisper_router/api/certificates.py": "until when a certificate is good",
    "router/whisper_router/checks.py": "the same",
    "router/whisper_router/commands/keys.py": "when a key was made",
    "router/whisper_router/api/audit.py": "when a request was answered",
    "router/whisper_router/api/auth.py": "whether a key has expired",
    "router/whisper_router/api/limits/keeper.py": "the day of a budget of audio, over restarts",
    "router/whisper_router/api/client_secrets.py": "`expires_at` of a secret, as OpenAI has it",
    "router/whisper_router/api/realtime/handshake.py": "`expires_at` of a session",
    "router/whisper_router/api/job_making.py": "when a job was made",
    "router/whisper_router/api/dialects/kept.py": "when a request came that is kept as a job",
    "router/whisper_router/pipeline/activity.py": "when work came, for who looks at it",
    "router/whisper_router/api/activity.py": "jobs are kept over restarts, so is their age",
    "router/whisper_router/pipeline/progress.py": "when stages were reached, for who asks later",
    "router/whisper_router/jobs/runner.py": "jobs are kept over restarts, so is their age",
    "router/whisper_router/jobs/webhooks.py": "attempts outlive restarts, signatures have a time",
}


def modules() -> Iterator[Path]:
    for folder in ("router", "engines"):
        yield from sorted((SOURCES / folder).rglob("*.py"))


def wall_clock_uses(module: Path) -> list[str]:
    """Return the names in it that tell the date or the time of day."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    dated = re.compile(r"(datetime|date)\.(now|utcnow|today)$")
    return sorted(name for name in names | imported if name in WALL_CLOCKS or dated.search(name))


def test_only_who_tells_a_date_asks_the_wall_clock():
    """Deadlines, idle times, pauses and budgets run on the monotonic clock."""
    found = {
        str(module.relative_to(SOURCES)): uses
        for module in modules()
        if (uses := wall_clock_uses(module))
    }
    assert found.keys() == TELLS_THE_DATE.keys(), found


def library() -> Path:
    """Return libfaketime (a Debian package), whatever the machine's architecture is."""
    found = sorted(LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "apt-get install libfaketime (see TEST_PACKAGES in the Makefile)"
    return found[0]


def jumps(server: ServerProcess) -> set[int]:
    """Return by how many days the log is off; a test that runs over midnight is not."""
    now = datetime.now(UTC)
    stamps = [str(line["timestamp"]) for line in server.log if "timestamp" in line]
    return {round((datetime.fromisoformat(stamp) - now) / timedelta(days=1)) for stamp in stamps}


async def test_jumps_while_an_engine_works_and_rests_are_not_noticed(tmp_path, samples):
    """Forwards and back; every limit is far shorter than the jump."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    fake = {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    config = 'default_model = "demo"\n[supervision]\nidle_unload_s = 900\nchunk_timeout_s = 60\n'
    clip, long = (samples[f"en_{name}.wav"]["path"] for name in ("hello_gb", "two_speakers_long"))
    with running_server(tmp_path, config=config, env=fake) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            assert (await ask(http, server.url, clip))[1]["text"] == "hello world"
            started = [process.pid for process in engine_processes(server)]
            for days in (3, -3):
                running = begun(ask(http, server.url, long))
                await asyncio.to_thread(worker_at_work, server)
                offset.write_text(f"{days:+}d\n")
                status, answer = await running
                assert status == 200
                assert answer["text"].startswith("hello world alpha bravo")
                while days not in jumps(server):  # the library looks for its offset once a second
                    await ask(http, server.url, clip)
                assert (await ask(http, server.url, clip))[1]["text"] == "hello world"
                assert [process.pid for process in engine_processes(server)] == started
            assert jumps(server) == {0, 3, -3}
