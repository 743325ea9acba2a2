"""Live, in a browser whose microphone is a file."""

import re

import pytest

from support.speech import sample
from support.ui_page import chromium, opened_ui


@pytest.fixture(scope="module")
def browser():
    """One browser, whose microphone says three short sentences, once."""
    with chromium(speech=sample("en_three_segments").path) as running:
        yield running


@pytest.mark.alone  # a browser that gets no time drops what its microphone hears
def test_words_are_shown_while_they_are_spoken(browser, server):
    """Tentative ones look different, and become confirmed ones; stopping ends the session."""
    said = [text for _, _, text in sample("en_three_segments").segments]
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open("live")
        page.click("#l-start")
        page.wait_for_selector("#l-tentative:visible")
        looks = "id => getComputedStyle(document.getElementById(id)).fontStyle"
        assert page.evaluate(looks, "l-tentative") == "italic"
        assert page.evaluate(looks, "l-said") == "normal"
        assert page.inner_text("#l-state") == "listening"
        ui.text("#l-lag", re.compile(r"\d s"))
        ui.until("document.getElementById('l-level').value > 0.3")
        ui.text("#l-said", said[1])
        page.click("#l-stop")
        page.wait_for_selector("#l-start:enabled")
        heard = page.inner_text("#l-said").split("\n\n")
        assert heard[:2] == said[:2]
        assert page.inner_text("#l-state") == "not connected"
        with page.expect_download() as saved:
            page.click("#l-save")
        assert saved.value.path().read_text("utf-8").split("\n")[:2] == said[:2]
        assert ui.violations() == []


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
