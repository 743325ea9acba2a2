"""whisper.cpp's own `whisper-server` as a child process, built by tools/whisper-server.sh.

What it does that others do not: its socket is there only once the model is loaded; flags that it
does not know end it with exit code 0; it binds with SO_REUSEPORT, so a port that another one holds
is no error; it runs one request at a time; without `language` it hears English.
"""

import contextlib
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_router.supervisor.listeners import free_port

COMPILERS = Path(__file__).parents[2] / "tools" / "compilers.sh"
SCRIPT = Path(__file__).parents[2] / "tools" / "whisper-server.sh"
BUILD_S = 1800.0
START_S = 120.0
STOP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class WhisperServer:
    """A running one. `output` is the file that holds what it prints."""

    process: subprocess.Popen[bytes]
    url: str
    output: Path

    def features(self) -> str:
        """Return the processor features it was built for, which it prints with each request."""
        found = re.search(r"system_info: .*?\| (WHISPER : .*)", self.output.read_text("utf-8"))
        assert found, "no request has been made yet"
        return found[1].strip(" |")


def built(kind: str) -> Path:
    """Return the program built for `avx2` or `native`; the first time takes a minute or two."""
    done = subprocess.run([SCRIPT, kind], stdout=subprocess.PIPE, timeout=BUILD_S, check=True)
    return Path(done.stdout.decode().strip())


@contextlib.contextmanager
def running_whisper_server(
    program: Path, model: Path, directory: Path, *, threads: int, flags: Sequence[str] = ()
) -> Iterator[WhisperServer]:
    """Serve `model` on a free port of loopback until the block ends; files go to `directory`."""
    port = free_port()
    command = [str(program), "-m", str(model), "-t", str(threads), "--port", str(port), *flags]
    output = directory / "whisper-server.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    server = WhisperServer(process=process, url=f"http://127.0.0.1:{port}", output=output)
    try:
        _wait_until_it_serves(server)
        yield server
    finally:
        process.terminate()  # it finishes what it runs
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def _wait_until_it_serves(server: WhisperServer) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        code = server.process.poll()
        assert code is None, f"it ended with {code}: {server.output.read_text('utf-8')[-2000:]}"
        try:
            urllib.request.urlopen(f"{server.url}/health", timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"whisper-server did not start in {START_S:g} s")
