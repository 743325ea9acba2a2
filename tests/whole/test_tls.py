"""TLS of a real server: its certificate is renewed, wrongly and rightly, while it serves."""

import asyncio
import signal
import ssl
import subprocess
import sys

import aiohttp

from support.certificates import make_certificate
from support.server import environment, running_server

LIMIT_S = 60


def trusting(path) -> aiohttp.ClientSession:
    """A client that believes this certificate alone, and makes a new connection each time."""
    trust = ssl.create_default_context(cafile=str(path))
    connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))


async def figure(http: aiohttp.ClientSession, url: str, name: str) -> float:
    async with http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])


async def test_a_certificate_is_renewed_under_a_running_server(tmp_path):
    """By a signal and by itself; a wrong one is told of, and keeps nothing else from changing."""
    files, good = make_certificate(tmp_path), make_certificate(tmp_path, "two", days=60)
    first = (tmp_path / "first.pem").write_bytes(files.certificate.read_bytes())
    assert first
    config = f"""default_model = "demo"
[server]
tls_cert = "{files.certificate}"
tls_key = "{files.key}"
"""
    with running_server(tmp_path, config=config) as server:
        assert server.url.startswith("https://")
        async with asyncio.timeout(LIMIT_S):
            async with trusting(tmp_path / "first.pem") as http:
                files.certificate.write_bytes(good.certificate.read_bytes())  # and not its key
                (tmp_path / "router.toml").write_text(config + '[models.new]\nmodel = "demo"\n')
                server.process.send_signal(signal.SIGHUP)
                line = await asyncio.to_thread(server.wait_for_log, "reload_incomplete")
                assert "is not the key of" in line["reason"]
                line = await asyncio.to_thread(server.wait_for_log, "reloaded")
                assert line["added"] == ["new"]
                async with http.get(f"{server.url}/v1/models/new") as answer:
                    assert answer.status == 200
                rejected = 'whisper_router_rejected_files{file="certificate"}'
                assert await figure(http, server.url, rejected) == 1
                name = "whisper_router_tls_certificate_expires_timestamp_seconds"
                before_s = await figure(http, server.url, name)

                files.key.write_bytes(good.key.read_bytes())
                await asyncio.to_thread(server.wait_for_log, "certificate_read")
            async with trusting(good.certificate) as http:
                assert await figure(http, server.url, rejected) == 0
                later_s = await figure(http, server.url, name) - before_s
                assert abs(later_s - 30 * 86_400) < 60
            asked = ["bench", "--config", str(tmp_path / "router.toml"), "--model", "demo"]
            bench = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "whisper_router.cli", *asked, "--requests", "1"],
                env=environment(tmp_path)
                | {"WHISPER_ROUTER__SERVER__PORT": server.url.rpartition(":")[2]},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert (bench.returncode, bench.stderr) == (0, "")
