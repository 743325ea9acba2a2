"""What operators see and do on the page: engines, requests, use, jobs, the system."""

import re
import subprocess
import sys

import pytest

from support.server import running_server
from support.speech import joined, sample
from support.ui_page import NO_TIMERS, PHONE, chromium, opened_ui
from whisper_router.api.key_file import save_keys

FOCUSED = "document.activeElement.getAttribute('aria-label')"
KEY = "secret-of-sixteen"
CONFIG = """default_model = "demo"
[models.two-workers]
model = "demo"
workers = 2
[models.broken]
path = "broken.bin"
[auth]
keys_file = "keys.toml"
"""


@pytest.fixture(scope="module")
def operated(tmp_path_factory):
    """A server with an administrator's key; its configuration may be written anew."""
    directory = tmp_path_factory.mktemp("operated")
    (directory / "broken.bin").write_bytes(b"no weights at all" * 1000)
    save_keys(directory / "keys.toml", [])
    config = CONFIG.replace("broken.bin", str(directory / "broken.bin"))
    config = config.replace("keys.toml", str(directory / "keys.toml"))
    with running_server(directory, config=config, env={"API_KEY": KEY}) as server:
        yield server, directory / "router.toml"


@pytest.fixture(scope="module")
def url(operated):
    """Its address."""
    return operated[0].url


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as running:
        yield running


def speak(ui, path):
    """Have a file transcribed on the page."""
    ui.open("transcribe")
    ui.page.set_input_files("#files", str(path))
    ui.page.click("#start")
    ui.page.wait_for_selector("#queue .badge.good")


def test_an_engine_is_loaded_pinned_read_and_unloaded(browser, url):
    """The state is the server's, the log comes as it is written."""
    with opened_ui(browser, url, key=KEY) as ui:
        page = ui.page
        ui.open("models")
        model = page.locator("[data-alias=two-workers]")
        model.get_by_role("button", name="Load two-workers").click()
        ui.text("[data-alias=two-workers] .badge.good", "ready")
        ui.text("[data-alias=two-workers] .model-facts", "on cpu")
        model.get_by_role("button", name="Pin two-workers", exact=True).click()
        ui.text("[data-alias=two-workers]", "pinned")
        ui.until(f"{FOCUSED} === 'Unpin two-workers'")
        assert ui.violations() == []
        model.get_by_role("button", name="Unpin two-workers").click()
        model.get_by_role("button", name="Unload two-workers").click()
        page.wait_for_selector("[data-alias=two-workers] .badge:text-is('stopped')")


def test_an_engine_that_does_not_start_says_why_and_what_it_printed(browser, url):
    """The error of the request, and the engine's own lines as they come."""
    with opened_ui(browser, url, key=KEY) as ui:
        ui.expected.update({500, 502, 503})
        ui.open("models")
        model = ui.page.locator("[data-alias=broken]")
        model.get_by_role("button", name="Log of broken").click()
        ui.text("[data-alias=broken] .log", "Nothing was printed yet.")
        model.get_by_role("button", name="Load broken").click()
        ui.text("[data-alias=broken] [role=alert]", "engine_start_failed")
        ui.text("[data-alias=broken] .log", "error: ")
        assert ui.violations() == []
        ui.page.get_by_role("button", name="Log of demo").click()
        ui.page.wait_for_selector("[data-alias=broken] .log", state="hidden")
        ui.page.click("#tab-api")  # a log holds a connection only while it is looked at
        ui.drawn("api")
        ui.page.click("#tab-models")
        ui.page.wait_for_selector("[data-alias=demo] h3")
        assert ui.page.locator("#panel-models .log:visible").count() == 0


def test_settings_are_shown_without_secrets_and_read_again(browser, operated):
    """What came of it is said: what changed, or what is wrong."""
    server, config = operated
    whole = config.read_text("utf-8")
    with opened_ui(browser, server.url, key=KEY) as ui:
        ui.expected.add(400)
        page = ui.page
        ui.open("system")
        assert KEY not in page.content()
        page.click("summary:text-is('[models]')")
        assert "two-workers" in page.inner_text("#panel-system")
        page.click("button:text-is('Read it again')")
        ui.text("#panel-system", "nothing has changed")
        config.write_text(whole + '[models.third]\nmodel = "demo"\n', encoding="utf-8")
        page.click("button:text-is('Read it again')")
        ui.text("#panel-system", "added: third")
        config.write_text("[models.third]\nmodle = 1\n", encoding="utf-8")
        page.click("button:text-is('Read it again')")
        ui.text("#panel-system [role=alert]:visible", "invalid_configuration")
        config.write_text(whole, encoding="utf-8")
        page.click("button:text-is('Read it again')")
        ui.text("#panel-system", "removed: third")
        keys = config.with_name("keys.toml")
        keys.write_text("[keys.", encoding="utf-8")
        page.click("button:text-is('Read it again')")
        ui.text("#panel-system [role=alert]:visible", "what was there before goes on")
        save_keys(keys, [])


def test_jobs_are_listed_downloaded_and_deleted(browser, url):
    """Those of the key, with results in a format of choice."""
    with opened_ui(browser, url, key=KEY) as ui:
        page = ui.page
        audio = sample("de_digits").path.read_bytes()
        file = {"name": "zahlen.wav", "mimeType": "audio/wav", "buffer": audio}
        headers = {"Authorization": f"Bearer {KEY}"}
        form = {"file": file, "model": "demo"}
        page.request.post(f"{url}/v1/jobs", multipart=form, headers=headers)
        ui.open("activity")
        ui.text("#panel-activity", "zahlen.wav")
        page.wait_for_selector("#panel-activity .badge.good:text-is('completed')")
        page.select_option("select[aria-label='Format of zahlen.wav']", "srt")
        page.focus("select[aria-label='Format of zahlen.wav']")
        other = {"name": "other.wav", "mimeType": "audio/wav", "buffer": audio}
        form = {"file": other, "model": "demo"}
        page.request.post(f"{url}/v1/jobs", multipart=form, headers=headers)
        page.wait_for_selector("#panel-activity .badge.good:text-is('completed') >> nth=1")
        assert page.evaluate(FOCUSED) == "Format of zahlen.wav"
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download zahlen.wav").click()
        assert "drei sieben" in saved.value.path().read_text("utf-8")
        assert saved.value.suggested_filename == "zahlen.srt"
        assert ui.violations() == []
        page.get_by_role("button", name="Delete zahlen.wav").click()
        ui.until(f"{FOCUSED} === 'Format of other.wav'")
        page.get_by_role("button", name="Delete other.wav").click()
        ui.text("#panel-activity", "No jobs.")
        assert page.evaluate("document.activeElement.textContent") == "Jobs"


def test_an_ordinary_key_is_told_what_it_may_not_see(browser, tmp_path):
    """In a sentence where it would be; the rest of the page works."""
    keys = str(tmp_path / "keys.toml")
    command = [sys.executable, "-m", "whisper_router.cli", "keys", "new", "laptop"]
    made = subprocess.run([*command, "--keys-file", keys], check=True, capture_output=True)
    key = made.stdout.decode().strip()
    config = CONFIG.replace("keys.toml", keys)
    with (
        running_server(tmp_path, config=config) as server,
        opened_ui(browser, server.url, key=key) as ui,
    ):
        ui.expected.add(403)
        for tab in ("models", "system"):
            ui.page.goto(f"{server.url}/ui/#{tab}")
            ui.text(f"#panel-{tab} [role=alert]:visible", "administrator's key")
            assert ui.page.locator(f"#panel-{tab} .card:visible").count() == 0
        ui.page.goto(f"{server.url}/ui/#activity")
        ui.text("#panel-activity", "No jobs.")
        ui.open("transcribe")


def test_memory_is_shown_against_its_budget_and_idle_engines_count_down(browser, url):
    """As the server reckons it."""
    with opened_ui(browser, url, key=KEY) as ui:
        speak(ui, sample("de_digits").path)
        ui.open("models")
        ui.text("#panel-models .meterbar >> nth=0", "Memory of engines")
        ui.text("[data-alias=demo] .model-facts", "unloads in")
        assert ui.violations() == []


def test_a_model_that_cannot_be_fetched_is_said(browser, url):
    """The server is offline: its own words."""
    with opened_ui(browser, url, key=KEY) as ui:
        ui.expected.update({400, 404, 502, 503})
        ui.open("models")
        ui.page.fill("#pull-name", "tiny")
        ui.page.click("#panel-models button[type=submit]")
        ui.page.wait_for_selector("#pull-error:visible")
        assert "offline" in ui.page.inner_text("#pull-error p")


def test_what_runs_is_shown_and_cancelled(browser, url, tmp_path):
    """The request's own page is told; the history has it, with charts."""
    long = joined(tmp_path / "long.wav", *[sample("en_three_segments").path] * 60, silence_s=1.0)
    with (
        opened_ui(browser, url, key=KEY) as working,
        opened_ui(browser, url, key=KEY) as watching,
    ):
        working.expected.add(410)
        working.open("transcribe")
        working.page.set_input_files("#files", str(long))
        watching.open("activity")
        working.page.click("#start")
        cancel = watching.page.locator("#panel-activity button[aria-label^='Cancel']").first
        cancel.click()
        working.text("#queue [role=alert]:visible", "request_cancelled")
        watching.text("#panel-activity", "Nothing runs.")
        watching.text("#panel-activity", "request_cancelled")
        assert watching.page.locator("#panel-activity svg[role=img]").count() == 3
        assert watching.violations() == []
        watching.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert watching.width() == PHONE[0]


def test_a_server_that_is_away_is_said_once_and_found_again(browser, tmp_path):
    """The alert is not written anew at every look; the looks become fewer."""
    with (
        running_server(tmp_path, config=CONFIG.partition("[models.broken]")[0]) as server,
        opened_ui(browser, server.url) as ui,
    ):
        page, place = ui.page, "#activity-body [role=alert]:visible"
        ui.open("activity")
        ui.text("#panel-activity", "No jobs.")
        page.wait_for_selector("[aria-label='Use per key']")  # all of the first look has come
        page.route("**/v1/**", lambda route: route.abort())
        page.wait_for_selector(place)
        page.evaluate(
            "window.told = 0; new MutationObserver((all) => { told += all.length; }).observe("
            "document.querySelector('#activity-body'), {childList: true, subtree: true})"
        )
        with page.expect_event("requestfailed"):
            pass
        page.unroute_all()
        assert page.evaluate("told") == 0
        page.evaluate(NO_TIMERS)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_selector(place, state="detached")
        ui.problems.clear()  # the browser writes down the requests that did not get through


def test_use_is_shown_per_key(browser, url):
    """Of every key, to an administrator."""
    with opened_ui(browser, url, key=KEY) as ui:
        speak(ui, sample("de_digits").path)
        ui.open("activity")
        ui.text("[aria-label='Use per key'] tbody", "admin")


def test_the_system_and_the_doctor(browser, url):
    """Versions, accelerators, and findings as they come."""
    with opened_ui(browser, url, key=KEY) as ui:
        speak(ui, sample("de_digits").path)
        ui.open("system")
        ui.text("#panel-system", "pywhispercpp")
        ui.text("[aria-label=Accelerators] tbody", "cpu")
        ui.page.click("button:text-is('Run the doctor')")
        ui.page.wait_for_selector("#panel-system .finding")
        ui.text("#panel-system [role=status] >> nth=0", re.compile("All is well|to look at"))
        assert ui.violations() == []
