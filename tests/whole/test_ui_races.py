"""What comes twice, late, or in another order than the page asked for it."""

import pytest

from support.ui_page import NO_TIMERS, chromium, opened_ui

KEEP = """async (ids) => {
  const { keep } = await import("/ui/history.js");
  const segments = [{ id: 0, start: 0, end: 1, text: " red" }];
  const doc = { task: "transcribe", language: "en", duration: 1, text: "red", segments };
  for (const id of ids) await keep({ id, created: 1, name: `${id}.wav`, options: {}, doc });
}"""
KEPT = """async () => {
  const { entries } = await import("/ui/history.js");
  return (await entries()).map(({ id }) => id);
}"""
DELETE = "#history button:text-is('Delete') >> nth=0"
REFUSAL = {"error": {"message": "Incorrect API key provided."}}
SETTLED = "fetch('../health').then((answer) => answer.text())"
"""What came before is dealt with when this has come, too."""


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as running:
        yield running


class Held:
    """The first request of a kind, which is answered when the test says so."""

    def __init__(self, page, pattern, *, ask_first=False):
        self.page, self.route, self.answer, self.ask_first = page, None, None, ask_first
        page.route(pattern, self._hold)

    def _hold(self, route):
        if self.route is not None:
            route.continue_()
            return
        self.route = route
        if self.ask_first:
            self.answer = route.fetch()

    def wait(self):
        """Return when there is one."""
        while self.route is None or (self.ask_first and self.answer is None):
            self.page.evaluate("new Promise((done) => setTimeout(done, 20))")

    def refuse(self):
        """Answer that the key is wrong; return when the page knows."""
        self._fulfil(status=401, json=REFUSAL)

    def let_come(self):
        """Let the answer come that there was then; return when the page knows."""
        self._fulfil(response=self.answer)

    def _fulfil(self, **answer):
        with self.page.expect_event("requestfinished", lambda one: one == self.route.request):
            self.route.fulfill(**answer)
        self.page.evaluate(SETTLED)


def test_a_double_click_deletes_one(browser, server):
    """The second click falls on what has moved to where the first one was deleted."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        ui.open()
        page.evaluate(KEEP, ["one", "other"])
        page.reload()
        page.click(DELETE)
        ui.text("#announcer", "The transcript is deleted.")
        page.dispatch_event(DELETE, "click", {"detail": 2})
        assert page.evaluate(KEPT) == ["other"]
        page.click(DELETE)
        ui.text("#history", "Nothing yet.")


def test_all_are_deleted_also_one_that_is_not_listed_yet(browser, server):
    """It was kept in the moment of the question."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        page.on("dialog", lambda dialog: dialog.accept())
        ui.open()
        page.evaluate(KEEP, ["one"])
        page.reload()
        page.wait_for_selector(DELETE)
        page.evaluate(KEEP, ["other"])
        page.click("#history-clear")
        ui.text("#history", "Nothing yet.")
        assert page.evaluate(KEPT) == []


def test_a_tab_that_is_left_and_chosen_again_while_it_loads_is_made_once(browser, server):
    """Both times it was waited for."""
    with opened_ui(browser, server.url) as ui:
        page = ui.page
        held = Held(page, "**/ui/tab_api.js", ask_first=True)
        page.goto(f"{server.url}/ui/#api", wait_until="commit")
        page.wait_for_selector("#panel-api:not([hidden])", state="attached")  # it is empty yet
        held.wait()
        page.click("#tab-live")
        ui.drawn("live")
        page.click("#tab-api")
        page.wait_for_selector("#panel-api:not([hidden])", state="attached")  # it is empty yet
        held.let_come()
        ui.drawn("api")
        assert page.locator("#a-model").count() == 1


def test_a_refusal_of_another_key_asks_for_none(browser, server):
    """It was sent before the key was set."""
    with opened_ui(browser, server.url) as ui:
        ui.expected.add(401)
        page = ui.page
        held = Held(page, "**/v1/models")
        page.goto(f"{server.url}/ui/")
        held.wait()
        page.click("#key-button")
        page.fill("#key-input", "a-key")
        page.keyboard.press("Enter")
        ui.text("#key-state", "Key: set")
        held.refuse()
        assert page.inner_text("#key-state") == "Key: set"
        assert page.is_hidden("#key-dialog")


def test_a_key_that_was_tried_before_does_not_matter_any_more(browser, server):
    """Its refusal comes after the next one was taken."""
    with opened_ui(browser, server.url) as ui:
        ui.expected.add(401)
        page = ui.page
        ui.open()
        held = Held(page, "**/v1/models")
        page.click("#key-button")
        for key in ("wrong", "right"):
            page.fill("#key-input", key)
            page.keyboard.press("Enter")
            held.wait()
        ui.text("#key-state", "Key: set")
        held.refuse()
        assert page.inner_text("#key-state") == "Key: set"
        assert page.is_hidden("#key-dialog")


def test_an_older_answer_does_not_undo_a_newer_one(browser, server):
    """How engines were before one of them was pinned."""
    with opened_ui(browser, server.url) as ui:
        page, pinned = ui.page, "[data-alias=two-workers] .badge:text-is('pinned')"
        ui.open("models")
        held = Held(page, "**/v1/processes", ask_first=True)
        held.wait()
        page.click("[aria-label='Pin two-workers']")
        page.wait_for_selector(pinned)
        page.evaluate(NO_TIMERS)
        held.let_come()
        assert page.locator(pinned).count() == 1
        page.click("[aria-label='Unpin two-workers']")
        page.wait_for_selector(pinned, state="detached")
