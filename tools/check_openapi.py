"""Holds a running server to its own OpenAPI document: schemathesis makes the requests.

The server is a real one with the demo model, on loopback, with a home of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.server import ServerProcess, running_server
from support.speech import sample

HOOKS = Path(__file__).with_name("openapi_hooks.py")
SEED = 20_240_921
EXAMPLES = 12
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
LENIENT = (
    "createTranscription",
    "createTranslation",
    "createJob",
    "createClientSecret",
    "createTranscriptionSession",
)
"""Forms in which unknown and empty fields are ignored, and sessions told in part only."""
LEFT_OUT = r"^GET /v1/realtime$|^GET /v1/audio/transcriptions$|^POST /v1/config/reload$"
"""WebSockets, which are no requests with an answer, and what would change the server."""
SPEECH = "/v1/audio/"
ENDED_S = 30.0


def main() -> int:
    """Print the report of schemathesis; 0 when the server does what it says."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running_server(directory, config='default_model = "demo"\n') as server:
            code = check(server.url, directory)
            wait_for_jobs(server.url)
            code = failures(server) or code
    return code


def check(url: str, directory: Path) -> int:
    """Return the status of schemathesis."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{url}/openapi.json",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES),
        "--seed", str(SEED), "--continue-on-failure",
        "--exclude-name-regex", LEFT_OUT, "--request-timeout", "30", "--no-shrink",
        "--generation-database", "none", "--warnings", "off",
    ]  # fmt: skip
    (directory / "schemathesis.toml").write_text(configuration(), encoding="utf-8")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": str(HOOKS),
        "OPENAPI_SAMPLE": str(sample("en_call_sign").path),
    }
    return subprocess.run(command, cwd=directory, env=environment, check=False).returncode


def configuration() -> str:
    """Return which checks are made of what."""
    lines = ["[checks]", "enabled = false", *(f"{name}.enabled = true" for name in CHECKS)]
    for name in LENIENT:
        lines += ["[[operations]]", f'include-operation-id = "{name}"']
        lines += ["checks.negative_data_rejection.enabled = false"]
    return "\n".join(lines)


def wait_for_jobs(url: str) -> None:
    """Return when every job that was made has ended. Raises TimeoutError."""
    deadline_s = time.monotonic() + ENDED_S
    for status in ("running", "queued", "running"):
        while jobs(url, status):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"jobs are still {status} after {ENDED_S:g} s")
            time.sleep(0.1)


def jobs(url: str, status: str) -> list[object]:
    """Return the jobs with a status."""
    with urllib.request.urlopen(f"{url}/v1/jobs?status={status}") as answer:
        listed: list[object] = json.load(answer)["data"]
    return listed


def failures(server: ServerProcess) -> int:
    """Print how often the server answered what, and its bugs; 1 when it has any."""
    answered = Counter(
        (str(line["status"]), str(line["path"]).startswith(SPEECH))
        for line in server.log
        if line.get("event") == "request_done"
    )
    counts = Counter({status: answered[status, False] for status, _ in answered})
    counts.update({status: count for (status, heard), count in answered.items() if heard})
    print("answers:", ", ".join(f"{count} × {status}" for status, count in sorted(counts.items())))
    bugs = [line for line in server.log if line.get("event") in {"request_failed", "stream_failed"}]
    for line in bugs:
        print(json.dumps(line), file=sys.stderr)
    if not answered["200", True]:
        print("no speech was recognised: this has checked little", file=sys.stderr)
    return 0 if answered["200", True] and not bugs else 1


if __name__ == "__main__":
    sys.exit(main())
