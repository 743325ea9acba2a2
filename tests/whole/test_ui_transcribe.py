"""Transcribe, in a browser: files, recordings, progress, corrections, every format, history."""

import json
import re
import socket
import uuid
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

from support.server import running_server
from support.speech import joined, sample
from support.ui_page import chromium, opened_ui
from whisper_router.api.keys import hash_key

UNFINISHED = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    b"Authorization: Bearer of-the-page\r\nExpect: 100-continue\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n"
)
PARTLY = r"""(([bar, queue]) => /Transcribing \d+\.\d %/.test(queue.textContent) && bar.value > 0
  && bar.value < 100)(["#queue progress", "#queue"].map((at) => document.querySelector(at)))"""
"""The page tells how much of a file is transcribed: some, and not all."""
SAID = "red green blue open left close right stop"


@pytest.fixture(scope="module")
def browser():
    """One browser, whose microphone says a few words."""
    with chromium(speech=sample("en_three_segments").path) as running:
        yield running


def job_of(url, path, *fields):
    """Have the server do a file as a job; return the job's address."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (("model", "demo"), *fields)
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = b"".join(parts) + head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urlopen(Request(f"{url}/v1/jobs", data=body, headers=headers), timeout=60) as answer:
        job = f"{url}/v1/jobs/{json.load(answer)['id']}"
    with urlopen(f"{job}/events", timeout=60) as events:
        events.read()  # until it has ended
    return job


def result_of(job, name, *shape):
    """Return the job's result in a format and shape, with all times that it can have."""
    stamps = [("timestamp_granularities[]", kind) for kind in ("segment", "word")]
    fields = [("response_format", name), *(stamps if name == "verbose_json" else []), *shape]
    with urlopen(f"{job}/result?{urlencode(fields)}", timeout=60) as answer:
        return answer.read()


def transcribe(ui, *paths):
    """Have the page transcribe files; return when the last one is done."""
    ui.page.set_input_files("#files", [str(path) for path in paths])
    ui.page.click("#start")
    ui.page.wait_for_selector(f"#queue .badge.good >> nth={len(paths) - 1}")


def exported(ui, name):
    """Return what the page copies in a format."""
    ui.page.select_option("#export-format", name)
    ui.page.evaluate("document.getElementById('announcer').textContent = ''")
    ui.page.click("#export-copy")
    ui.text("#announcer", "Copied.")
    return ui.page.evaluate("navigator.clipboard.readText()")


def test_every_format_is_the_servers_own_without_asking_again(browser, server):
    """Byte for byte, also with speakers; several files wait for one another."""
    plain, stereo = sample("en_three_segments").path, sample("stereo_two_speakers_44k").path
    with opened_ui(browser, server.url) as ui:
        page, asked = ui.page, []
        ui.open()
        page.on("request", lambda request: asked.append(request.url))
        for path, more in ((plain, []), (stereo, [("diarize", "true")])):
            page.set_checked("#t-diarize", checked=bool(more))
            transcribe(ui, path)
            ui.text("#result-title", path.name)
            job = job_of(server.url, path, *more)
            del asked[:]
            options = page.locator("#export-format option").all()
            names = [option.get_attribute("value") for option in options]
            assert len(names) == (11 if more else 9)
            for name in names:
                own = result_of(job, name)
                assert exported(ui, name) == own.decode("utf-8"), name
            with page.expect_download() as saved:
                page.click("#export-download")
            assert saved.value.path().read_bytes() == own
            assert saved.value.suggested_filename.startswith(f"{path.stem}.")
            page.select_option("#export-format", "srt")
            page.fill("#shape-width", "12")
            page.check("#shape-marks")
            wanted = (("max_line_width", 12), ("highlight_words", "true"))
            for name in ("srt", "vtt"):
                assert exported(ui, name) == result_of(job, name, *wanted).decode("utf-8"), name
            page.fill("#shape-width", "")
            page.uncheck("#shape-marks")
            assert [url for url in asked if not url.startswith("blob:")] == []
            page.click("#clear")


def test_what_is_heard_is_marked_and_a_click_goes_there(browser, server):
    """Segments and words; the player stands where the person pointed."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        transcribe(ui, sample("en_three_segments").path)
        assert page.inner_text("#result .segments").split() == [
            "0:00.3", *SAID.split()[:3], "0:02.8", *SAID.split()[3:7], "0:06.2", "stop"
        ]  # fmt: skip
        page.click("#result .said span:text-is('close')")
        page.wait_for_selector("#result .said span.now:text-is('close')")
        assert page.locator("#result .segment.now").count() == 1
        assert 3.0 < page.evaluate("document.querySelector('audio').currentTime") < 3.2
        page.evaluate(
            "document.querySelector('audio').addEventListener('play', () => {"
            " window.played = true; })"
        )
        page.click("#result .seek >> nth=0")
        ui.until("window.played")
        page.wait_for_selector("#result .said .now:text-is('red')")
        page.evaluate("document.querySelector('audio').pause()")
        assert ui.violations() == []


def test_corrections_are_in_every_export_and_in_the_history(browser, server):
    """Kept in the browser across a reload, without audio, until they are deleted."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        ui.text("#history", "Nothing yet.")
        transcribe(ui, sample("en_three_segments").path)
        said = page.locator("#result .said").nth(0)
        said.focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("Red, green --> violet")
        assert exported(ui, "text") == f"Red, green --> violet {SAID[15:]}\n"
        assert "Red, green -> violet\n" in exported(ui, "srt")
        told = json.loads(exported(ui, "verbose_json"))
        assert told["segments"][0]["text"] == " Red, green --> violet"
        assert [word["word"] for word in told["words"]][:4] == ["Red,", "green", "-->", "violet"]
        ui.text("#history", "violet")  # it is kept a moment after the last letter
        page.reload()
        page.click("#history button:text-is('Open')")
        assert "violet" in page.inner_text("#result .segments")
        assert page.locator("#result audio").count() == 0
        assert exported(ui, "text").startswith("Red, green --> violet")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("#history-clear")
        ui.text("#history", "Nothing yet.")


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
def test_a_recording_is_transcribed(browser, server):
    """From the microphone, as it was spoken."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        page.click("#record")
        ui.text("#record-name", "Stop recording")
        ui.text("#record-time", re.compile(r"0:0(1\.[89]|[2-9])|0:[1-5]|[1-9]:"))
        page.click("#record")
        page.click("#start")
        page.wait_for_selector("#queue .badge.good")
        assert page.inner_text("#result .said >> nth=0").strip() == "red green blue"


def test_what_goes_wrong_is_said_with_code_and_request(browser, server, tmp_path):
    """A file that is no audio; the next one is transcribed all the same, and the bad one again."""
    bad = tmp_path / "letter.mp3"
    bad.write_text("This is no audio at all. " * 40, encoding="utf-8")
    with opened_ui(browser, server.url) as ui:
        ui.expected.add(400)
        page = ui.page
        ui.open()
        page.set_input_files("#files", [str(bad), str(sample("de_digits").path)])
        page.click("#start")
        page.wait_for_selector("#queue .badge.good")
        alert = page.inner_text("#queue [role=alert]:visible")
        assert "decoded" in alert
        assert "code audio_undecodable" in alert
        assert "status 400" in alert
        assert "request page-" in alert
        assert ui.violations() == []
        page.click("button:text-is('Try again')")
        page.click("#start")
        page.wait_for_selector("#start[aria-disabled=true]:text-is('Transcribe')")
        assert page.locator("#queue .badge.bad").count() == 1


def test_a_long_file_shows_true_progress_and_can_be_cancelled(browser, server, tmp_path):
    """Text comes before the end, the percentage is the server's, and the worker is free again."""
    speech = sample("en_three_segments").path
    long = joined(tmp_path / "long.wav", *[speech] * 90, silence_s=1.0)
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        page.set_input_files("#files", str(long))
        page.click("#start")
        ui.text("#queue .item-text", "stop")
        ui.until(PARTLY)
        page.click("button:text-is('Cancel')")
        page.wait_for_selector("#queue .badge.warn:text-is('cancelled')")
        page.click("button:text-is('Remove')")
        transcribe(ui, sample("de_digits").path)
        assert "drei sieben" in page.inner_text("#result")


def test_a_transcript_that_is_cut_off_is_not_done(browser, server, tmp_path):
    """The failure comes in the stream, after text: it is told, nothing is kept, the text stays."""
    speech = sample("en_three_segments").path
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        long = joined(tmp_path / "long.wav", *[speech] * 90, silence_s=1.0)
        page.set_input_files("#files", str(long))
        page.click("#start")
        ui.text("#queue .item-text", "stop")
        with urlopen(f"{server.url}/v1/activity", timeout=60) as answer:
            running = re.findall(r'"(page-[\d-]+)"', json.dumps(json.load(answer)["running"]))
        cancel = Request(f"{server.url}/v1/activity/{running[0]}/cancel", method="POST")
        urlopen(cancel, timeout=60).close()
        page.wait_for_selector("#queue .badge.bad")
        assert "code request_cancelled" in page.inner_text("#queue [role=alert]:visible")
        assert page.inner_text("#queue .item-text:visible").startswith("red green blue")
        ui.text("#history", "Nothing yet.")


def test_nothing_comes_back_or_is_taken_from_somebodys_hands(browser, server):
    """What is deleted stays deleted; who corrects is not interrupted; odd addresses are names."""
    speech = sample("de_digits").path
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        transcribe(ui, speech)
        page.click("#result .said >> nth=0")
        more = str(sample("en_hello_gb").path)
        page.set_input_files("#files", more)
        page.evaluate("document.getElementById('start').click()")
        page.wait_for_selector("#queue .badge.good >> nth=1")
        assert page.inner_text("#result-title") == speech.name
        assert page.evaluate("document.activeElement.className") == "said"
        page.keyboard.type("X")
        page.on("dialog", lambda dialog: dialog.accept())
        page.evaluate("document.getElementById('history-clear').click()")
        ui.text("#history", "Nothing yet.")
        assert page.is_hidden("#result")
        page.click("button:text-is('Show') >> nth=0")
        page.click("#result .said >> nth=0")
        page.keyboard.type("Y")
        page.reload()
        ui.text("#history", "Nothing yet.")
        page.fill("#t-url", "foo:bar")
        page.click("#from-url button")
        ui.text("#t-error", "https://")
        page.fill("#t-url", "https://example.com/100%.mp3")
        page.click("#from-url button")
        ui.text("#queue .item-name", "100%.mp3")


def test_a_browser_that_keeps_nothing_transcribes_all_the_same(browser, server):
    """Its database does not open: that is said, where the history would be."""
    with opened_ui(browser, server.url) as ui:
        ui.page.add_init_script("IDBFactory.prototype.open = () => { throw new Error('is off'); };")
        ui.open()
        ui.text("#history-error", "is off")
        transcribe(ui, sample("de_digits").path)
        assert "drei sieben" in ui.page.inner_text("#result")
        ui.page.wait_for_selector("#start[aria-disabled=true]:text-is('Transcribe')")


def test_a_queue_waits_as_long_as_the_server_says_and_goes_on(browser, tmp_path):
    """Another request of the same key runs at first: a limit of one at a time."""
    keys = tmp_path / "keys.toml"
    limits = f'hash = "{hash_key("of-the-page")}"\nconcurrent_requests = 1\n'
    keys.write_text(f"[keys.page]\n{limits}", encoding="utf-8")
    config = f'default_model = "demo"\n[auth]\nkeys_file = "{keys}"\n'
    with (
        running_server(tmp_path, config=config) as server,
        opened_ui(browser, server.url, key="of-the-page") as ui,
    ):
        ui.expected.add(429)
        ui.open()
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), 20) as other:
            other.sendall(UNFINISHED)
            assert b"100 Continue" in other.recv(100)
            ui.page.set_input_files("#files", str(sample("de_digits").path))
            ui.page.click("#start")
            ui.text("#queue", "The server's limit is reached. Again in")
        ui.page.wait_for_selector("#queue .badge.good")
