"""Keeps what is logged while tests run, for `tools/check_logs.py`.

With `WHISPER_ROUTER_TEST_LOGS=DIRECTORY`, as `make test` sets it; without it nothing is kept.
"""

import json
import os
import re
import traceback
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from structlog import BoundLoggerBase

VARIABLE = "WHISPER_ROUTER_TEST_LOGS"
SECRET_OPTION = re.compile(r'\b(?:api_key|token|secret)\s*=\s*"([^"]+)"')
SECRET_VARIABLE = re.compile(r"KEY$|TOKEN$")
ASK_S = 2.0

_events: list[str] = []


def directory() -> Path | None:
    """Return where logs are kept."""
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def keep(name: str, text: str) -> None:
    """Add lines to the log of this name."""
    if (folder := directory()) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("a", encoding="utf-8") as file:
            file.write(text)


def keep_secrets(config: str, env: Mapping[str, str]) -> list[str]:
    """Note the keys that a server is given; return them."""
    secrets = SECRET_OPTION.findall(config)
    secrets += [value for name, value in env.items() if SECRET_VARIABLE.search(name)]
    if secrets and (folder := directory()) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "secrets.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"{secret}\n" for secret in secrets)
    return secrets


def keep_engine_output(name: str, url: str, secrets: list[str]) -> None:
    """Ask a running server for what its engines have printed. It need not answer."""
    if directory() is None or not url:
        return
    headers = {"Authorization": f"Bearer {secrets[0]}"} if secrets else {}
    with suppress(OSError, ValueError, KeyError):
        listed = _get(f"{url}/v1/processes", headers)["data"]
        for alias in (item["id"] for item in listed):
            lines = _get(f"{url}/v1/processes/{alias}/logs?lines=200", headers)["data"]
            keep(name, "".join(f"{line}\n" for line in lines))


def keep_events() -> None:
    """From now on note each event of this process, however logging is set up."""
    original = BoundLoggerBase._process_event

    def noted(self: BoundLoggerBase, method: str, event: str | None, fields: dict[str, Any]) -> Any:
        entry = {**self._context, **fields, "event": event, "level": method}
        if entry.pop("exc_info", None) or method == "exception":
            _events.append(traceback.format_exc().replace("\n", "\\n"))
        _events.append(json.dumps(entry, default=repr, skipkeys=True))
        return original(self, method, event, fields)

    if directory() is not None:
        BoundLoggerBase._process_event = noted


def write_events(test: str) -> None:
    """Write what came since the last call: not earlier, for the event loop must not wait."""
    if _events:
        lines, _events[:] = "".join(f"{line}\n" for line in _events), []
        keep(f"in-process-{os.getpid()}", f"# {test}\n{lines}")


def _get(url: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=ASK_S) as response:
        return json.load(response)
