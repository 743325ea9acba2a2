"""Besides the main path: drops, second thoughts, microphones and servers that are lost."""

import base64
import re
import signal

import pytest

from support.server import running_server
from support.speech import joined, sample
from support.ui_page import chromium, opened_ui
from whisper_router.api.keys import hash_key
from whisper_router.supervisor.listeners import free_port

WHOLE, SILENT = "key-of-the-whole-page", "key-that-may-not-listen"
KEYS = "".join(
    f'[keys.{name}]\nhash = "{hash_key(key)}"\nscopes = {scopes}\n'
    for name, key, scopes in (
        ("whole", WHOLE, '["transcribe", "live", "jobs"]'),
        ("silent", SILENT, '["transcribe", "jobs"]'),
    )
)
WARNS = "!dispatchEvent(new Event('beforeunload', {cancelable: true}))"
WARNED = f"""document.getElementById("start").addEventListener("click", () => {{
  window.warned = {WARNS};
}})"""
"""Whether leaving was warned of as soon as the work had begun: it may be done in no time."""
HEARD = re.compile(r"0:00\.[3-9]|0:0[1-9]|0:[1-5]|[1-9]:")
"""The length of a recording that has begun."""
FOCUSED = "document.activeElement.id"
DROP = """files => {
  const data = new DataTransfer();
  for (const [name, letters] of files)
    data.items.add(new File([Uint8Array.from(atob(letters), (one) => one.charCodeAt(0))], name));
  const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  return !document.querySelector("main").dispatchEvent(event);
}"""
KNOWN_TRACK = """
navigator.mediaDevices.getUserMedia = (own => function (...wanted) {
  return own.apply(this, wanted)
    .then((stream) => { [window.track] = stream.getTracks(); return stream; });
})(navigator.mediaDevices.getUserMedia);
"""
VANISH = "track.stop(); track.dispatchEvent(new Event('ended'))"
NO_WORKLET = """AudioWorklet.prototype.addModule = () => Promise.reject(
  new DOMException("Unable to load a worklet's module.", "AbortError"));"""
REFUSE = """navigator.mediaDevices.getUserMedia = () => Promise.reject(
  new DOMException("Permission denied", "NotAllowedError"));"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server with two keys, one of which may not listen live."""
    directory = tmp_path_factory.mktemp("keyed")
    keys = directory / "keys.toml"
    keys.write_text(KEYS, encoding="utf-8")
    config = f'default_model = "demo"\n[auth]\nkeys_file = "{keys}"\n'
    with running_server(directory, config=config) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as running:
        yield running


def letters(data):
    """Return bytes as the page's script takes them."""
    return base64.b64encode(data).decode()


def test_files_are_dropped_anywhere(browser, url):
    """Several at once, on any tab; what is no audio fails alone; leaving is warned of meanwhile."""
    speech = letters(sample("de_digits").path.read_bytes())
    with opened_ui(browser, url, key=WHOLE) as ui:
        ui.expected.add(400)
        page = ui.page
        ui.open("api")
        files = [["zahlen.wav", speech], ["letter.mp3", letters(b"no audio " * 99)]]
        assert page.evaluate(DROP, files), "the browser would leave the page"
        ui.drawn("transcribe")
        assert page.locator("#queue .item-name").all_inner_texts() == ["zahlen.wav", "letter.mp3"]
        assert page.evaluate(DROP, [["more.wav", speech]])
        ui.text("#start", "Transcribe 3 files")
        assert not page.evaluate(WARNS)
        page.evaluate(WARNED)
        page.focus("#start")
        page.keyboard.press("Enter")
        assert page.evaluate("warned")
        page.wait_for_selector("#queue .badge.good >> nth=1")
        assert "audio_undecodable" in page.inner_text("#queue .item >> nth=1")
        page.wait_for_selector("#start[aria-disabled=true]:text-is('Transcribe')")
        assert not page.evaluate(WARNS)
        page.click("#clear")
        assert page.evaluate(FOCUSED) == "choose"


def test_the_field_of_the_key_is_empty_whenever_it_is_opened(browser, url):
    """However it was left; a refusal is told with the field."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        ui.expected.add(401)
        page = ui.page
        ui.open()
        for leave in (lambda: page.keyboard.press("Escape"), lambda: page.click("#key-cancel")):
            page.click("#key-button")
            assert page.input_value("#key-input") == ""
            page.fill("#key-input", "half-a-key")
            leave()
            ui.until("document.getElementById('key-input').value === ''")
            assert page.is_hidden("#key-dialog")
        page.click("#key-button")
        page.fill("#key-input", "wrong")
        page.keyboard.press("Enter")
        ui.text("#key-problem", "Incorrect API key")
        assert page.get_attribute("#key-input", "aria-invalid") == "true"
        assert "key-problem" in page.get_attribute("#key-input", "aria-describedby")
        page.fill("#key-input", SILENT)
        page.keyboard.press("Enter")
        ui.until("document.getElementById('key-input').value === ''")
        assert page.is_hidden("#key-dialog")


def test_a_key_without_live_is_told_so(browser, url):
    """In a sentence, before the browser asks for the microphone; the focus comes back to Start."""
    with opened_ui(browser, url, key=SILENT) as ui:
        ui.page.add_init_script(REFUSE)
        ui.open("live")
        ui.page.focus("#l-start")
        ui.page.keyboard.press("Enter")
        ui.text("#l-error", "This key may not listen live: its scopes are transcribe, jobs")
        ui.text("#l-state", "not connected")
        ui.until(f"{FOCUSED} === 'l-start'")


def test_examples_that_are_drawn_again_keep_the_focus(browser, url):
    """The server is asked while somebody is at a button already."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        page = ui.page
        with page.expect_response("**/v1/usage"):
            ui.open("api")
        page.focus("[aria-label='Copy Python']")
        page.evaluate("window.pressed = document.activeElement")
        with page.expect_response("**/v1/usage"):
            page.evaluate("document.dispatchEvent(new CustomEvent('key-changed'))")
        page.select_option("#a-model", index=1)  # draws once more, without taking the focus
        assert page.evaluate("document.activeElement === pressed")
        page.keyboard.press("Enter")
        ui.text("#announcer", "Copied.")
        model = page.input_value("#a-model")
        assert f'model="{model}"' in page.evaluate("navigator.clipboard.readText()")


def test_what_an_option_cannot_be_is_said_at_the_option(browser, url):
    """Before anything is sent, also where the option is folded away."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        page, asked = ui.page, []
        ui.open()
        page.set_input_files("#files", str(sample("de_digits").path))
        page.evaluate("document.getElementById('t-temperature').value = 7")
        page.on("request", lambda request: asked.append(request.url))
        page.click("#start")
        ui.until(f"{FOCUSED} === 't-temperature'")
        assert page.is_visible("#t-temperature")
        assert not [address for address in asked if "/v1/" in address]
        page.fill("#t-url", "ftp://example.com/a.mp3")
        page.keyboard.press("Enter")
        ui.text("#t-error", "https://")
        assert page.get_attribute("#t-url", "aria-invalid") == "true"
        assert page.get_attribute("#t-url", "aria-describedby") == "t-error"


def test_a_recording_is_stopped_once_and_not_lost(browser, url):
    """A double click on Stop is one; leaving is warned of until the recording is transcribed."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        page = ui.page
        ui.open()
        assert not page.evaluate(WARNS)
        page.focus("#record")
        page.keyboard.press("Enter")
        ui.text("#record-name", "Stop recording")
        assert page.evaluate(FOCUSED) == "record"
        assert page.evaluate(WARNS)
        ui.text("#record-time", HEARD)
        page.dblclick("#record")
        page.wait_for_selector("#queue .item")
        page.wait_for_selector("#record:not([aria-disabled])")
        assert page.inner_text("#record-name") == "Record"
        page.dispatch_event("#record", "click", {"detail": 2})  # a double click's second one, late
        assert page.get_attribute("#record", "aria-disabled") is None
        assert page.locator("#queue .item").count() == 1
        assert page.is_hidden("#recording")
        assert page.evaluate(WARNS)
        with page.expect_download() as saved:
            page.click("button:text-is('Save the audio')")
        assert saved.value.path().read_bytes()[:4] == b"RIFF"
        page.click("#start")
        page.wait_for_selector("#queue .badge.good")
        assert not page.evaluate(WARNS)


def test_a_microphone_that_vanishes_leaves_what_it_heard(browser, url):
    """While recording, and live: it is said, and nothing goes on without it."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        page = ui.page
        page.add_init_script(KNOWN_TRACK)
        ui.open()
        page.click("#record")
        ui.text("#record-name", "Stop recording")
        ui.text("#record-time", HEARD)
        page.evaluate(VANISH)
        ui.text("#t-error", "The microphone is gone")
        page.wait_for_selector("#queue .item")
        ui.text("#record-name", re.compile("^Record$"))
        page.click("#tab-live")
        ui.drawn("live")
        page.click("#l-start")
        ui.text("#l-state", "listening")
        assert page.evaluate(WARNS)
        page.evaluate(VANISH)
        ui.text("#l-error", "The microphone is gone")
        ui.text("#l-state", "not connected")
        page.wait_for_selector("#l-start:enabled")


def test_a_microphone_that_cannot_be_used_is_said(browser, url):
    """Refused by the person, or its part of the page cannot be loaded: it is off afterwards."""
    with opened_ui(browser, url, key=WHOLE) as ui:
        page = ui.page
        page.add_init_script(KNOWN_TRACK)
        page.add_init_script(NO_WORKLET)
        for tab, start, error in (
            ("transcribe", "record", "t-error"),
            ("live", "l-start", "l-error"),
        ):
            ui.open(tab)
            page.click(f"#{start}")
            ui.text(f"#{error}", "capture.js")
            ui.until("track.readyState === 'ended'")
        page.add_init_script(REFUSE)
        page.reload()
        for tab, start, error in (
            ("live", "l-start", "l-error"),
            ("transcribe", "record", "t-error"),
        ):
            page.click(f"#tab-{tab}")
            ui.drawn(tab)
            page.click(f"#{start}")
            ui.text(f"#{error}", "The microphone is not allowed.")
        ui.text("#record-name", re.compile("^Record$"))
        assert ui.violations() == []


def test_a_file_that_was_deleted_is_not_the_servers_fault(browser, url, tmp_path):
    """It is chosen, and gone before its turn comes."""
    file = tmp_path / "gone.wav"
    file.write_bytes(sample("de_digits").path.read_bytes())
    with opened_ui(browser, url, key=WHOLE) as ui:
        ui.open()
        ui.page.set_input_files("#files", str(file))
        file.unlink()
        ui.page.click("#start")
        ui.text("#queue [role=alert]", "This file cannot be read")
        ui.problems[:] = [line for line in ui.problems if "ERR_FILE" not in line]


def test_a_server_that_goes_and_comes_back(browser, tmp_path):
    """In the middle of an upload and of a live session; the files that wait go on waiting."""
    long = joined(tmp_path / "long.wav", *[sample("en_three_segments").path] * 30, silence_s=1.0)
    config = 'default_model = "demo"\n'
    port = {"WHISPER_ROUTER__SERVER__PORT": str(free_port())}  # nobody takes it meanwhile
    with (
        running_server(tmp_path, config=config, env=port) as mortal,
        opened_ui(browser, mortal.url) as ui,
    ):
        page = ui.page
        ui.open("live")
        page.click("#l-start")
        ui.text("#l-state", "listening")
        page.click("#tab-transcribe")
        ui.drawn("transcribe")
        slow = page.context.new_cdp_session(page)
        speed = {"offline": False, "latency": 0, "downloadThroughput": -1}
        slow.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": 200_000})
        page.set_input_files("#files", [str(long), str(sample("de_digits").path)])
        page.click("#start")
        ui.text("#queue", re.compile(r"Uploading [1-9][\d.]* %"))
        mortal.stop(signal.SIGKILL)
        ui.text("#queue [role=alert] >> nth=0", "The server cannot be reached.")
        assert "code" not in page.inner_text("#queue [role=alert] >> nth=0")
        ui.text("#queue .item >> nth=1", "waiting")
        ui.text("#start", re.compile("^Transcribe$"))
        slow.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": -1})
        page.click("#tab-live")
        ui.text("#l-error", "broke off")
        page.click("#tab-api")
        ui.text("#page-error", "The server cannot be reached.")
        with running_server(tmp_path, config=config, env=port):
            page.click("#page-error button:text-is('Try again')")
            ui.drawn("api")
            page.click("#tab-live")
            page.click("#l-start")
            ui.text("#l-state", "listening")
            page.click("#l-stop")
            ui.text("#l-state", "not connected")
            page.click("#tab-transcribe")
            page.click("button:text-is('Remove') >> nth=1")
            page.click("button:text-is('Try again')")
            page.set_input_files("#files", str(sample("de_digits").path))
            page.click("button:text-is('Remove') >> nth=0")
            page.click("#start")
            page.wait_for_selector("#queue .badge.good")
        ui.forget_lost_connections()
