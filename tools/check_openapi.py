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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.server import ServerProcess, running_server
from support.speech import sample

Json = dict[str, Any]
HOOKS = Path(__file__).with_name("openapi_hooks.py")
SEED = 20_240_921
EXAMPLES = 6
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
LENIENT = (
    "createClientSecret",
    "createTranscriptionSession",
    "insanelyCreate",
    "listJobs",
    "speachesListModels",
    "speachesRegistry",
)
"""Bodies that may be told in part, queries whose empty values count as absent; so do all forms'."""
REFUSED = 501
"""The status of what another server does, and this one does not: no bug."""
FETCHING = ("speachesDownload", "speachesLoad", "whisperxLoadModels", "loadProcesses")
"""May ask for a file that is not here, and the server is offline: 503 is right."""
LEFT_OUT = (
    # WebSockets, which are no requests with an answer
    r"^GET /v1/realtime$",
    r"^GET /v1/audio/transcriptions$",
    # what would change the server, or take the model from under the other requests
    r"^POST /v1/config/reload$",
    r"^DELETE /v1/models/",
    r"^DELETE /api/ps/",
    r"^POST /whisperx/models/unload$",
    # what is the same as another: refusals in one handler, a form that is a part of a longer one
    r"^POST /v1/(audio/speech/embedding|chat/completions|realtime)$",
    r"^POST /whisperx/v1/audio/translations$",
)
HEARD = (
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/speech/timestamps",
    "/asr",
    "/inference",
    "/whisperx/v1/audio/transcriptions",
)
"""Where speech must have been recognised at least once."""
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
        "--exclude-name-regex", "|".join(LEFT_OUT), "--request-timeout", "30", "--no-shrink",
        "--generation-database", "none", "--warnings", "off",
    ]  # fmt: skip
    (directory / "schemathesis.toml").write_text(configuration(document(url)), encoding="utf-8")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": str(HOOKS),
        "OPENAPI_SAMPLE": str(sample("en_call_sign").path),
    }
    return subprocess.run(command, cwd=directory, env=environment, check=False).returncode


def configuration(described: Json) -> str:
    """Return which checks are made of what."""
    lines = ["[checks]", "enabled = false", *(f"{name}.enabled = true" for name in CHECKS)]
    for operations in described["paths"].values():
        for operation in operations.values():
            own = list(exceptions(operation))
            if own:
                lines += ["[[operations]]", f'include-operation-id = "{operation["operationId"]}"']
                lines += own
    return "\n".join(lines)


def exceptions(operation: Json) -> Iterator[str]:
    """Yield what is checked otherwise than elsewhere."""
    forms = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in forms or operation["operationId"] in LENIENT:
        yield "checks.negative_data_rejection.enabled = false"
    right = [REFUSED] if str(REFUSED) in operation["responses"] else []
    right += [503] if operation["operationId"] in FETCHING else []
    if right:
        statuses = json.dumps(["2xx", "3xx", "4xx", *right])
        yield f"checks.not_a_server_error.expected-statuses = {statuses}"


def document(url: str) -> Json:
    """Return what the server says of itself."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        described: Json = json.load(answer)
    return described


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
    done = [line for line in server.log if line.get("event") == "request_done"]
    counts = Counter(str(line["status"]) for line in done)
    print("answers:", ", ".join(f"{count} × {status}" for status, count in sorted(counts.items())))
    bugs = [line for line in server.log if line.get("event") in {"request_failed", "stream_failed"}]
    for line in bugs:
        print(json.dumps(line), file=sys.stderr)
    heard = {line["path"] for line in done if line["status"] == 200 and line["method"] == "POST"}
    silent = [path for path in HEARD if path not in heard]
    for path in silent:
        print(f"{path}: no speech was recognised, this has checked little", file=sys.stderr)
    return 1 if silent or bugs else 0


if __name__ == "__main__":
    sys.exit(main())
