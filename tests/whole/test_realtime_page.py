"""A page in a real browser: its microphone is a file, its key a subprotocol, its words are seen."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from support.server import running_server
from support.speech import sample

PAGE = Path(__file__).parents[1] / "support" / "realtime_page.html"
KEY = "secret-of-sixteen"

NOTE_TENTATIVE = """addEventListener("DOMContentLoaded", () => {
  const tentative = document.getElementById("tentative");
  new MutationObserver(() => { window.tentativeSeen ||= tentative.textContent; })
    .observe(tentative, { childList: true, characterData: true, subtree: true });
});"""
"""Tentative words may be replaced before the next frame is drawn."""


@pytest.fixture
async def page_url():
    """The page, from a site that is not the server."""

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
async def test_words_are_shown_as_they_are_spoken(tmp_path, page_url):
    """Three utterances from the fake microphone, with tentative words on the way.

    It says them over and over again: a browser that did not hear one is given another chance.
    """
    said = sample("en_three_segments")
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: tools/apt-packages.sh chromium"
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={said.path}",
        "--no-sandbox",
    ]
    config = 'default_model = "demo"\n[live]\nstep_s = 0.3\n'
    with running_server(tmp_path, config=config, env={"API_KEY": KEY}) as server:
        socket = f"{server.url.replace('http', 'ws', 1)}/v1/realtime?intent=transcription"
        async with asyncio.timeout(110), async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=arguments, ignore_default_args=["--mute-audio"]
            )
            page = await browser.new_page(viewport={"width": 800, "height": 400})
            page.set_default_timeout(100_000)
            await page.add_init_script(NOTE_TENTATIVE)
            await page.goto(f"{page_url}#url={quote(socket, safe='')}&key={KEY}")
            await page.wait_for_function("window.tentativeSeen")
            expected = " / ".join(text for _, _, text in said.segments)
            await page.wait_for_function(
                "text => document.getElementById('words').textContent.includes(text)", arg=expected
            )
            assert await page.inner_text("#status") == "listening"
            await page.screenshot(path=tmp_path / "page.png")
            await browser.close()


async def test_a_wrong_key_is_seen_as_a_closed_connection(tmp_path, page_url):
    """Browsers tell no more of a refused handshake."""
    chromium = shutil.which("chromium")
    with running_server(
        tmp_path, config='default_model = "demo"\n', env={"API_KEY": KEY}
    ) as server:
        socket = f"{server.url.replace('http', 'ws', 1)}/v1/realtime"
        async with asyncio.timeout(110), async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"]
            )
            page = await browser.new_page()
            await page.goto(f"{page_url}#url={quote(socket, safe='')}&key=wrong")
            await page.wait_for_function(
                "document.getElementById('status').textContent === 'closed with 1006'"
            )
            await browser.close()
