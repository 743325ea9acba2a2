"""Transcripts on the page: hours, in any script, without a mouse, in two tabs, as subtitles."""

import json
import random
from dataclasses import asdict

import pytest
from playwright.sync_api import expect

from support.speech import sample
from support.ui_page import chromium, opened_ui
from whisper_router.api.formats import FORMATS, verbose_body
from whisper_router.api.forms import SUBTITLES, Granularity, ResponseFormat, ResponseOptions
from whisper_router.api.shaping import Shape
from whisper_router.domain import Segment, Task, Transcript, Word

LONGEST_TASK_MS = 250  # of a processor; usually 50, and 400 with all rows and words at once
TASK = "ThreadControllerImpl::RunTask"
KEEP = """async (entries) => {
  const { keep } = await import("/ui/history.js");
  for (const entry of entries) await keep(entry);
}"""
KEEP_LONG = """async ([entry, times, copies]) => {
  const { keep } = await import("/ui/history.js");
  const { doc } = entry;
  const again = (list, late) => list.map((one) => (
    { ...one, start: one.start + late, end: one.end + late }));
  const turns = Array.from({ length: times }, (_, turn) => turn * doc.duration);
  const all = (list) => turns.flatMap((late) => again(list, late));
  const [segments, words] = [all(doc.segments), all(doc.words)];
  const long = { ...doc, duration: doc.duration * times, segments, words };
  for (let copy = 0; copy < copies; copy += 1)
    await keep({ ...entry, id: `long-${copy}`, doc: long });
}"""
WRITE = """async (cases) => {
  const { FORMATS } = await import("/ui/formats.js");
  return cases.map(([doc, format, shape]) => FORMATS[format].write(doc, shape));
}"""
FOCUSED = "document.activeElement.getAttribute('aria-label')"
OPEN = "#history button:text-is('Open')"
ALL = frozenset(Granularity)
NAMES = {
    "max_line_width": "width",
    "max_line_count": "lines",
    "max_words_per_line": "words",
    "highlight_words": "marks",
}
VOCABULARY = (
    "red",
    "gr\u00fcn",
    '"blue',
    "left,",
    "can't",
    "--> up",
    "\u00bfqu\u00e9?",
    "3.5",
    "\u4f60\u597d",
    "\U0001f44d",
    "stop.",
)


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as running:
        yield running


def transcript(texts, *, speakers=(None,), pace_s=0.4, stamped=True):
    """Return a transcript in which each word of a text has its own time."""
    at_s, segments = 0.25, []
    for number, text in enumerate(texts):
        speaker, words, begin_s = speakers[number % len(speakers)], [], at_s
        for word in text.split():
            end_s = round(at_s + pace_s * 0.8, 3)
            words.append(
                Word(text=word, start_s=at_s, end_s=end_s, probability=0.9, speaker=speaker)
            )
            at_s = round(at_s + pace_s, 3)
        segment = Segment(
            start_s=begin_s,
            end_s=at_s,
            text=f" {text}",
            words=words if stamped else [],
            speaker=speaker,
        )
        segments.append(segment)
        at_s = round(at_s + pace_s, 3)
    return Transcript(task=Task.TRANSCRIBE, language="en", duration_s=at_s, segments=segments)


def verbose(found):
    """Return the object of `verbose_json` with everything in it."""
    return json.loads(json.dumps(verbose_body(found, ResponseOptions(granularities=ALL))))


def entry(name, found):
    """Return what the page keeps of a transcript."""
    options = {"model": "demo", "language": ""}
    return {"id": name, "created": 1, "name": name, "options": options, "doc": verbose(found)}


def shown(ui, *found):
    """Keep transcripts in the browser's history, and open the only or the last one."""
    ui.open()
    ui.page.evaluate(KEEP, [entry(f"kept-{number}.wav", one) for number, one in enumerate(found)])
    ui.page.reload()
    ui.page.click(f"{OPEN} >> nth=0")
    ui.page.wait_for_selector("#result .said >> nth=0")


def cases(count=150):
    """Yield made-up transcripts, each with a format and a shape."""
    chance = random.Random(7)
    for _ in range(count):
        texts = [
            " ".join(chance.choices(VOCABULARY, k=chance.randint(1, 12)))
            for _ in range(chance.randint(1, 4))
        ]
        speakers = chance.choice(((None,), ("A", "B <b>")))
        found = transcript(texts, speakers=speakers, stamped=chance.random() < 0.7)
        shape = Shape(
            max_line_width=chance.choice((None, 5, 12, 30)),
            max_line_count=chance.choice((None, 1, 2)),
            max_words_per_line=chance.choice((None, 1, 3)),
            highlight_words=chance.random() < 0.4,
        )
        yield found, chance.choice(sorted(SUBTITLES)), shape


def test_subtitles_are_shaped_as_the_server_shapes_them(browser, server):
    """By the page itself, from `verbose_json`, whose words have lost their punctuation."""
    made = list(cases())
    asked = [
        (verbose(found), name, {NAMES[key]: value for key, value in asdict(shape).items() if value})
        for found, name, shape in made
    ]
    with opened_ui(browser, server.url) as ui:
        ui.open()
        written = ui.page.evaluate(WRITE, asked)
    for (found, name, shape), own in zip(made, written, strict=True):
        options = ResponseOptions(response_format=ResponseFormat(name), shape=shape)
        expected = FORMATS[name].render(found, options).decode()
        assert own == expected, (name, shape, [segment.text for segment in found.segments])


def tasks_ms(trace):
    """Return how much of a processor each task of the page has taken."""
    events = json.loads(trace)["traceEvents"]
    pages = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event.get("tdur", 0) / 1000  # which is left out where it is nothing
        for event in events
        if event["name"] == TASK and (event["pid"], event["tid"]) in pages
    ]


@pytest.mark.alone  # it measures
def test_hours_of_text_do_not_freeze_the_page(browser, server):
    """Three hours, with a history of more: opened, corrected, exported, left and come back to."""
    texts = [" ".join(f"word{number}" for number in range(8)) for _ in range(36)]
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        page.evaluate(KEEP_LONG, [entry("long.wav", transcript(texts)), 100, 3])
        browser.start_tracing(page=page, categories=["toplevel"])
        page.reload()
        page.click(f"{OPEN} >> nth=0")
        page.click("#result .said >> nth=2")
        page.keyboard.type("Corrected ")
        ui.until("document.querySelectorAll('#result .segment').length === 3600")
        ui.text("#history .item-text >> nth=0", "word0")
        page.select_option("#export-format", "srt")
        page.click("#export-copy")
        ui.text("#announcer", "Copied.")
        assert "Corrected" in page.evaluate("navigator.clipboard.readText()")
        page.click("#tab-live")
        ui.drawn("live")
        page.click("#tab-transcribe")
        page.evaluate("document.querySelector('#result .segments').scrollTop = 1e6")
        page.wait_for_selector("#result .segment:last-child .said span")
        took_ms = tasks_ms(browser.stop_tracing())
        assert len(took_ms) > 100, "the page has done more than that"
        assert max(took_ms) < LONGEST_TASK_MS


def test_text_is_text_and_runs_as_its_script_does(browser, server):
    """Neither markup nor script in a transcript does anything; Arabic begins at the right."""
    texts = [
        "<img src=x onerror=alert(1)> <b>bold</b>",
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643\u0645",
        "left to right",
    ]
    found = transcript(texts, speakers=("<i>A</i>",))
    with opened_ui(browser, server.url) as ui:
        shown(ui, found)
        page = ui.page
        page.wait_for_selector("#result .said span >> nth=0")
        assert page.locator("#result .said").all_inner_texts() == texts
        assert page.locator("#result img, #result b, #history img, #history b").count() == 0
        side = "(said) => getComputedStyle(said).direction"
        directions = [page.locator("#result .said").nth(number).evaluate(side) for number in (1, 2)]
        assert directions == ["rtl", "ltr"]
        page.click("#result .said >> nth=1")
        page.keyboard.press("End")
        page.keyboard.type(" <u>x</u>")
        page.reload()
        page.click(OPEN)
        ui.text("#result .said >> nth=1", " <u>x</u>")


def test_a_transcript_is_walked_and_corrected_without_a_mouse(browser, server):
    """One stop for Tab however long it is; Enter and arrows go from row to row."""
    with opened_ui(browser, server.url) as ui:
        shown(ui, transcript([f"text number {number}" for number in range(80)]))
        page = ui.page
        assert page.evaluate("document.activeElement.id") == "result-title"
        ui.until("document.querySelectorAll('#result .segment').length === 80")
        for _ in range(5):  # Close, format, Download, Copy, Choose its file
            page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "Text of segment 1"
        for key, number in (
            ("Enter", 2),
            ("ArrowDown", 3),
            ("ArrowUp", 2),
            ("Shift+Enter", 1),
            ("ArrowUp", 1),
        ):
            page.keyboard.press(key)
            assert page.evaluate(FOCUSED) == f"Text of segment {number}", key
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "history-clear"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(FOCUSED) == "Text of segment 2"
        page.set_input_files("#result-file", str(sample("en_three_segments").path))
        page.wait_for_selector("#result audio")
        page.focus("#result .seek[tabindex='0']")
        page.keyboard.press("End")
        assert page.evaluate(FOCUSED) == "Play from 2:06.7"
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        page.wait_for_selector("#result .segment.now")
        page.evaluate("document.querySelector('audio').pause()")
        page.focus("#history button:text-is('Delete')")
        page.keyboard.press("Enter")
        ui.until("document.activeElement.id === 'history-title'")


def test_two_tabs_keep_one_history(browser, server):
    """What one deletes is not written back by the other; what one corrects the other shows."""
    with opened_ui(browser, server.url) as ui:
        shown(ui, transcript(["red green"]), transcript(["left right"]))
        first = ui.page
        ui.page = second = first.context.new_page()
        ui.watch()
        ui.open()
        second.click(f"{OPEN} >> nth=0")
        second.click("#result .said")
        second.keyboard.press("End")
        second.keyboard.type(" again")
        ui.page = first
        ui.text("#result .said", "again")
        ui.text("#history", "again")
        second.bring_to_front()
        second.click("#history button:text-is('Delete') >> nth=0")
        ui.until("document.getElementById('result').hidden")
        expect(first.locator("#history .item")).to_have_count(1)
        first.evaluate("document.activeElement.blur()")


def test_shaping_is_offered_where_there_are_subtitles(browser, server):
    """With the bounds of the server; what cannot be is said at the field."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        shown(ui, transcript(["red green blue open left"]))
        assert page.is_hidden("#shape-width")
        page.select_option("#export-format", "srt")
        page.fill("#shape-width", "10")
        page.click("#export-copy")
        ui.text("#announcer", "Copied.")
        assert "red green\nblue open\nleft\n" in page.evaluate("navigator.clipboard.readText()")
        page.check("#shape-marks")
        with page.expect_download() as saved:
            page.click("#export-download")
        assert "<u>red</u> green\n" in saved.value.path().read_text("utf-8")
        assert ui.violations() == []
        page.set_viewport_size({"width": 320, "height": 740})
        assert ui.width() == 320
        page.fill("#shape-width", "1001")
        page.click("#export-copy")
        ui.until("document.activeElement.id === 'shape-width'")
