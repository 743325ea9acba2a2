"""The page at /ui in Debian's chromium: whatever it complains of fails the test."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

DRAWN = {
    "transcribe": "#t-model option",
    "live": "#l-model option",
    "models": "#models-body .meters > *",
    "activity": "#activity-body .card > div > * >> nth=1",
    "system": "#system-body details",
    "api": "#snippet-curl",
}
"""What each tab shows once it has asked the server."""
TABS = tuple(DRAWN)
WIDE, PHONE = (1280, 900), (360, 740)
WAIT_MS = 60_000  # of a machine that does much else; what comes at once is not waited for
STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d{3})")
AXE = Axe()
expect.set_options(timeout=WAIT_MS)
GUESSED = "/v1/progress/"
"""The page asks how far a request is that the server may not know yet, or any more."""
FAR = "router.lan"
"""A name of this machine that is not local to the browser: there it grants no microphone."""
REBOUND = "rebound.example.org"
"""A site's name, which it has point at this machine."""
ARGUMENTS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    f"--host-resolver-rules=MAP {FAR} 127.0.0.1, MAP {REBOUND} 127.0.0.1",
)


NO_TIMERS = "for (let id = setTimeout(() => {}); id > 0; id -= 1) clearTimeout(id);"
"""What waits for its time does not come any more."""
UNTIL = """(limit_ms) => new Promise((done) => {
  const end = performance.now() + limit_ms; // timers, since a page behind another draws no frames
  const look = () => {
    if (CONDITION) done(true);
    else if (performance.now() > end) done(false);
    else setTimeout(look, 20);
  };
  look();
})"""


@dataclass
class Ui:
    """A page, and what its console, its policy and its requests had to say against it.

    `expected` are statuses of answers that the test provokes: browsers write them down as errors.
    """

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def watch(self) -> None:
        """Note what goes wrong from now on."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", lambda request: self._request(request.url))

    def open(self, tab: str = "transcribe") -> None:
        """Open a tab by its address, and wait until it shows what it asks the server for."""
        self.page.goto(f"{self.url}/ui/#{tab}")
        self.drawn(tab)

    def drawn(self, tab: str) -> None:
        """Wait until a tab shows what it asks the server for."""
        self.page.wait_for_selector(f"#panel-{tab}:visible")
        self.page.wait_for_selector(DRAWN[tab], state="attached")

    def text(self, place: str, wanted: str | re.Pattern[str]) -> None:
        """Wait until a place holds a text."""
        expect(self.page.locator(place)).to_contain_text(wanted)

    def until(self, condition: str) -> None:
        """Wait until a condition, in JavaScript, holds. Polling by playwright would need `eval`."""
        holds = self.page.evaluate(UNTIL.replace("CONDITION", condition), WAIT_MS)
        assert holds, f"this does not come true: {condition}"

    def forget_lost_connections(self) -> None:
        """Forget what the browser wrote down of a server that the test has killed."""
        self.problems[:] = [line for line in self.problems if "net::ERR_" not in line]

    def violations(self) -> list[str]:
        """Return what axe finds serious or critical on the page as it is."""
        found = AXE.run(self.page).response["violations"]
        return [
            f"{item['id']}: {[node['html'] for node in item['nodes']]}"
            for item in found
            if item["impact"] in {"serious", "critical"}
        ]

    def width(self) -> int:
        """Return how wide the page is, be it wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def _console(self, message: ConsoleMessage) -> None:
        found = STATUS.match(message.text)
        status = int(found[1]) if found else 0
        if status == 404 and GUESSED in message.location.get("url", ""):
            return
        if status not in self.expected:
            self.problems.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self.url, self.url.replace("http", "ws", 1), "blob:", "data:")):
            self.problems.append(f"request: {url}")


@contextmanager
def chromium(*options: str, speech: Path | None = None) -> Iterator[Browser]:
    """Run the browser. Its microphone hears `speech` once, if there is any."""
    path = shutil.which("chromium")
    assert path, "chromium is missing: tools/apt-packages.sh chromium"
    heard = [] if speech is None else [f"--use-file-for-fake-audio-capture={speech}%noloop"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[*ARGUMENTS, *heard, *options],
            ignore_default_args=["--mute-audio"],
        )
        yield browser
        browser.close()


@contextmanager
def opened_ui(
    browser: Browser,
    url: str,
    *,
    scheme: str = "light",
    size: tuple[int, int] = WIDE,
    key: str | None = None,
) -> Iterator[Ui]:
    """Yield a page that nobody has used before; afterwards nothing may be wrong with it."""
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
        accept_downloads=True,
    )
    if FAR not in url:
        powers = ["microphone", "clipboard-read", "clipboard-write"]
        context.grant_permissions(powers, origin=url)
    if key is not None:
        context.add_init_script(f"sessionStorage.setItem('whisper-router-key', '{key}')")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    ui = Ui(page=page, url=url)
    ui.watch()
    try:
        yield ui
    finally:
        problems = list(ui.problems)
        context.close()
    if problems:
        raise AssertionError(f"the page complains: {problems}")
