"""The page of the API in a real browser."""

import asyncio
import shutil

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


async def opened(browser: Browser, url: str, scheme: str, viewport: dict) -> tuple[Page, list[str]]:
    """Open the page; return it with the addresses that it asked for and what it complained of."""
    context = await browser.new_context(color_scheme=scheme, viewport=viewport)
    page = await context.new_page()
    seen: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        seen.append(f"console: {message.text}")

    def ask(request: Request) -> None:
        if not request.url.startswith((url, "data:")):
            seen.append(f"request: {request.url}")

    page.on("console", complain)
    page.on("request", ask)
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    await page.goto(f"{url}/docs")
    return page, seen


@pytest.mark.alone  # a browser wants the machine for a moment
async def test_the_page_shows_the_api_and_asks_nobody_else(server, tmp_path):
    """In light and dark, on a desk and on a phone; nothing is wider than the screen."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: tools/apt-packages.sh chromium"
    inks = set()
    async with asyncio.timeout(110), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme, viewport in (("light", WIDE), ("dark", WIDE), ("light", NARROW)):
            page, seen = await opened(browser, server.url, scheme, viewport)
            assert seen == []
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == viewport["width"]
            inks.add(await page.evaluate("getComputedStyle(document.body).color"))
            await page.get_by_role("navigation").get_by_role("link").first.click()
            heading = page.get_by_role("heading", name="POST /v1/audio/transcriptions")
            assert await heading.is_visible()
            await page.wait_for_url("**/docs#createTranscription")
            await page.screenshot(path=tmp_path / f"{scheme}-{viewport['width']}.png")
        await browser.close()
    assert len(inks) == 2  # the style sheet is applied, and knows both schemes
