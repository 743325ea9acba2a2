"""Makes the pictures of docs/ui.md: a real server, the demo model, Debian's chromium.

Run it from an environment for development: `.venv/bin/python tools/screenshots.py`.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Browser

from support.server import running_server
from support.speech import joined, sample
from support.ui_page import Ui, chromium, opened_ui

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MAX_BYTES = 150_000
SIZE, PHONE = (1280, 860), (390, 844)
CONFIG = """default_model = "demo"
[live]
step_s = 0.3
[models.two-workers]
model = "demo"
workers = 2
[models.meetings]
model = "demo"
idle_unload_s = 900
"""
SAMPLES = ("de_digits", "fr_digits", "en_call_sign", "es_digits", "silence")


def main() -> int:
    """Make every picture; 1 when one is too large."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        running_server(Path(place), config=CONFIG) as server,
        chromium(speech=sample("en_two_speakers_long").path) as browser,
    ):
        done = transcribed(Path(place))
        picture(browser, server.url, "transcribe", done)
        picture(browser, server.url, "dark", done, scheme="dark")
        picture(browser, server.url, "phone", done, size=PHONE)
        picture(browser, server.url, "live", spoken)
        picture(browser, server.url, "models", loaded)
        picture(browser, server.url, "activity", busy)
        picture(browser, server.url, "system", examined)
        picture(browser, server.url, "api", lambda ui: ui.open("api"))
    large = [path.name for path in IMAGES.glob("ui-*.png") if path.stat().st_size > MAX_BYTES]
    for name in large:
        print(f"{name} has more than {MAX_BYTES} bytes", file=sys.stderr)
    return 1 if large else 0


def picture(
    browser: Browser,
    url: str,
    name: str,
    prepare: Callable[[Ui], None],
    *,
    scheme: str = "light",
    size: tuple[int, int] = SIZE,
) -> None:
    """Bring the page into a state, and keep what is seen of it."""
    with opened_ui(browser, url, scheme=scheme, size=size) as ui:
        ui.expected.add(400)
        prepare(ui)
        ui.page.mouse.move(0, 0)
        ui.page.screenshot(path=IMAGES / f"ui-{name}.png")


def transcribed(directory: Path) -> Callable[[Ui], None]:
    """A recording of some minutes is done, and its player stands at a word."""
    interview = joined(
        directory / "interview.wav",
        *(sample(name).path for name in ("en_three_segments", "en_call_sign", "en_digits_fast")),
        silence_s=1.0,
    )

    def prepare(ui: Ui) -> None:
        ui.open("transcribe")
        ui.page.set_input_files("#files", [str(sample("fr_digits").path), str(interview)])
        ui.page.click("#start")
        ui.page.wait_for_selector("#queue .badge.good >> nth=1")
        ui.page.get_by_role("button", name=f"Show {interview.name}").click()
        ui.text("#result-title", interview.name)
        ui.page.click("#result .said span >> nth=4")
        ui.page.wait_for_selector("#result .said .now")
        ui.page.evaluate("document.activeElement.blur()")
        ui.page.evaluate("scrollTo(0, 0)")
        if ui.page.viewport_size and ui.page.viewport_size["width"] < SIZE[0]:
            ui.page.evaluate("document.getElementById('result').scrollIntoView()")
        else:
            ui.page.select_option("#export-format", "srt")
            ui.page.evaluate("document.activeElement.blur()")

    return prepare


def spoken(ui: Ui) -> None:
    """Somebody speaks, and the last words are not sure yet."""
    ui.open("live")
    ui.page.click("#l-start")
    ui.page.wait_for_selector("#l-said p >> nth=1")
    ui.page.wait_for_selector("#l-tentative:visible")


def loaded(ui: Ui) -> None:
    """One engine runs, one is pinned."""
    ui.open("models")
    for alias in ("meetings", "two-workers"):
        ui.page.get_by_role("button", name=f"Load {alias}").click()
        ui.text(f"[data-alias={alias}] .badge.good", "ready")
    ui.page.get_by_role("button", name="Pin meetings", exact=True).click()
    ui.text("[data-alias=meetings]", "pinned")
    ui.page.evaluate("document.activeElement.blur()")


def busy(ui: Ui) -> None:
    """Some files were transcribed, one was none, and there are jobs."""
    ui.open("transcribe")
    files = [str(sample(name).path) for name in SAMPLES]
    bad = {"name": "letter.mp3", "mimeType": "audio/mpeg", "buffer": b"no audio " * 99}
    ui.page.set_input_files("#files", files)
    ui.page.set_input_files("#files", [bad])
    ui.page.click("#start")
    ui.page.wait_for_selector("#queue .badge.bad")
    for name in ("lecture-1.wav", "lecture-2.wav"):
        audio = {
            "name": name,
            "mimeType": "audio/wav",
            "buffer": sample("de_digits").path.read_bytes(),
        }
        ui.page.request.post(f"{ui.url}/v1/jobs", multipart={"file": audio, "model": "demo"})
    ui.page.click("#tab-activity")
    ui.text("#panel-activity .badge.good >> nth=1", "completed")


def examined(ui: Ui) -> None:
    """The machine and the settings are shown."""
    ui.open("system")
    ui.text("#panel-system", "pywhispercpp")
    ui.page.click("button:text-is('Run the doctor')")
    ui.page.wait_for_selector("#panel-system .finding >> nth=3")
    ui.page.evaluate("scrollTo(0, 0)")
    ui.page.evaluate("document.activeElement.blur()")


if __name__ == "__main__":
    sys.exit(main())
