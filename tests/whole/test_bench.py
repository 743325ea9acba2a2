"""`whisper-router bench` with the real engine."""

import json
import subprocess
import sys

from support.server import environment


def test_bench_measures_a_server(server, tmp_path):
    """Streamed speech of the length that was asked for, two requests at a time."""
    command = [sys.executable, "-m", "whisper_router.cli", "bench", "--url", server.url]
    command += ["--model", "demo", "--seconds", "9", "--requests", "3", "--concurrency", "2"]
    done = subprocess.run(
        [*command, "--stream", "--json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    assert (row["requests"], row["failed"], row["audio_s"]) == (3, 0, 27.0)
    assert 0 < row["first_text_s"]["p50"] < row["latency_s"]["max"]
    assert 0 < row["rtf"]["p50"] <= row["rtf"]["max"]
