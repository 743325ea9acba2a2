"""Live, in a browser whose microphone is a file."""

import json
import re
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import WebSocketRoute

from support.engine_processes import frozen, the_worker
from support.server import running_server
from support.speech import sample
from support.ui_page import chromium, opened_ui


@pytest.fixture(scope="module")
def browser():
    """One browser, whose microphone says three short sentences, once."""
    with chromium(speech=sample("en_three_segments").path) as running:
        yield running


NOTED = """() => {
  const [tentative, level] = ["l-tentative", "l-level"].map((id) => document.getElementById(id));
  window.seen = { looks: "", loudest: 0 };
  new MutationObserver(() => {
    if (!tentative.hidden && tentative.checkVisibility())
      seen.looks = getComputedStyle(tentative).fontStyle;
    seen.loudest = Math.max(seen.loudest, level.value);
  }).observe(document.getElementById("panel-live"), { attributes: true, subtree: true });
}"""
"""Words are tentative for a moment, and the microphone is loud while somebody speaks."""


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
def test_words_are_shown_while_they_are_spoken(browser, server):
    """Tentative ones look different, and become confirmed ones; stopping ends the session."""
    said = [text for _, _, text in sample("en_three_segments").segments]
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open("live")
        page.evaluate(NOTED)
        page.click("#l-start")
        ui.until("seen.looks === 'italic'")
        looks = "getComputedStyle(document.getElementById('l-said')).fontStyle"
        assert page.evaluate(looks) == "normal"
        assert page.inner_text("#l-state") == "listening"
        ui.text("#l-lag", re.compile(r"\d s"))
        ui.until("seen.loudest > 0.3")
        ui.text("#l-said", said[1])
        page.click("#l-stop")
        page.wait_for_selector("#l-start:enabled")
        heard = page.inner_text("#l-said").split("\n\n")
        assert heard[:2] == said[:2]
        assert page.inner_text("#l-state") == "not connected"
        with page.expect_download() as saved:
            page.click("#l-save")
        assert saved.value.path().read_text("utf-8").split("\n")[:2] == said[:2]
        page.click("#tab-transcribe")
        page.click("#history button:text-is('Open')")
        page.wait_for_selector("#result .said >> nth=1")
        assert page.locator("#result .said").all_inner_texts()[:2] == said[:2]
        page.select_option("#export-format", "srt")
        page.click("#export-copy")
        ui.text("#announcer", "Copied.")
        begins, until = re.findall(r"\d\d:\d\d:(\d\d),", page.evaluate(CLIPBOARD))[:2]
        assert int(begins) < int(until)
        page.click("#tab-live")
        assert ui.violations() == []


def sent_s(page) -> Callable[[], float]:
    """Return what tells how many seconds the next session has sent."""
    lengths: list[int] = []

    def note(payload):
        audio = json.loads(payload).get("audio")
        lengths.append(len(audio) * 3 // 4 if audio else 0)

    page.once("websocket", lambda socket: socket.on("framesent", note))
    return lambda: sum(lengths) / (2 * 24_000)


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
@pytest.mark.parametrize(("stop_s", "turns"), [(5.3, 2), (6.7, 3)])
def test_a_server_that_is_behind_is_waited_for(browser, tmp_path, stop_s, turns):
    """It has told of no turn that has ended meanwhile when somebody stops: in a pause, or not."""
    said = [text for _, _, text in sample("en_three_segments").segments]
    config = 'default_model = "demo"\n'
    with running_server(tmp_path, config=config) as slow, opened_ui(browser, slow.url) as ui:
        page = ui.page
        ui.open("live")
        heard_s = sent_s(page)
        page.click("#l-start")
        ui.until("document.getElementById('l-tentative').textContent.includes('red')")
        with frozen(the_worker(slow)):
            while heard_s() < stop_s:
                page.wait_for_timeout(20)
            page.click("#l-stop")
            page.evaluate("fetch('../health').then((answer) => answer.text())")
            assert page.inner_text("#l-state") == "waiting for the last words …"
        page.wait_for_selector("#l-start:enabled")
        assert page.inner_text("#l-said").split("\n\n") == said[:turns]
        assert page.inner_text("#l-error") == ""


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
def test_words_that_come_late_but_come_are_waited_for(browser, server):
    """Each thing that the server tells after Stop renews the patience of 20 s; silence ends it."""
    held: list[str | bytes] = []
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        page.clock.install()

        def between(client: WebSocketRoute) -> None:
            real = client.connect_to_server()

            def pass_on(message: str | bytes) -> None:
                if is_held:
                    held.append(message)
                else:
                    client.send(message)

            real.on_message(pass_on)
            sockets.append(client)

        sockets: list[WebSocketRoute] = []
        is_held = False
        page.route_web_socket(re.compile("/v1/realtime"), between)
        ui.open("live")
        page.click("#l-start")
        ui.until("document.getElementById('l-tentative').textContent.includes('red')")
        is_held = True
        page.click("#l-stop")
        while not any("input_audio_buffer.cleared" in str(message) for message in held):
            page.wait_for_timeout(20)
        for message in held[:2]:
            page.clock.fast_forward(15_000)
            assert page.inner_text("#l-state") == "waiting for the last words …"
            sockets[0].send(message)
            page.evaluate("fetch('../health').then((answer) => answer.text())")
        assert page.inner_text("#l-error") == ""
        page.clock.fast_forward(21_000)
        ui.text("#l-error", "did not come within 20 seconds")
        page.wait_for_selector("#l-start:enabled")


def test_a_model_that_is_not_there_is_said(browser, server):
    """The session's own error, in the page's words."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open("live")
        page.evaluate(
            "() => { const o = new Option('nobody', 'nobody', true, true);"
            " document.getElementById('l-model').add(o); }"
        )
        page.click("#l-start")
        page.wait_for_selector("#l-error:visible")
        assert "nobody" in page.inner_text("#l-error")
        ui.text("#l-state", "not connected")
        page.wait_for_selector("#l-start:enabled")


CLIPBOARD = "navigator.clipboard.readText()"
WITHHELD = """
navigator.mediaDevices.getUserMedia = (own => function (...wanted) {
  return new Promise((allow) => { window.allow = allow; }).then(() => own.apply(this, wanted))
    .then((stream) => { window.track = stream.getTracks()[0]; return stream; });
})(navigator.mediaDevices.getUserMedia);
"""


def test_a_microphone_allowed_after_the_end_is_switched_off(browser, server):
    """Somebody stops while the browser still asks for the permission, and grants it then."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        page.add_init_script(WITHHELD)
        ui.open("live")
        page.click("#l-start")
        ui.until("window.allow")
        page.click("#l-stop")
        ui.text("#l-state", "not connected")
        page.evaluate("allow()")
        ui.until("window.track && track.readyState === 'ended'")
        assert page.inner_text("#l-error") == ""


def test_a_server_that_dies_and_one_that_is_down_are_told(browser, tmp_path):
    """In words, not with a question for a key; the microphone is off, and Start works again."""
    config = 'default_model = "demo"\n'
    with running_server(tmp_path, config=config) as mortal, opened_ui(browser, mortal.url) as ui:
        page = ui.page
        ui.open("live")
        page.click("#l-start")
        ui.text("#l-state", "listening")
        mortal.stop(signal.SIGKILL)
        ui.text("#l-error", "broke off")
        ui.text("#l-state", "not connected")
        page.click("#l-start")
        ui.text("#l-error", "cannot be reached")
        page.wait_for_selector("#l-start:enabled")
        assert not page.is_visible("#key-dialog")
        ui.forget_lost_connections()
