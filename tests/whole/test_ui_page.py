"""The page as a whole, in a browser: tabs, key, colours, phones, and people who do not see it."""

import pytest

from support.server import running_server
from support.ui_page import FAR, PHONE, TABS, chromium, opened_ui

KEY = "secret-of-sixteen"
CONFIG = 'default_model = "demo"\n'


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server with a key."""
    directory = tmp_path_factory.mktemp("keyed")
    with running_server(directory, config=CONFIG, env={"API_KEY": KEY}) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as running:
        yield running


def test_tabs_have_addresses_and_are_walked_with_the_keyboard(browser, url):
    """As the ARIA practices say: arrows, Home and End; the chosen one alone is a tab stop."""
    with opened_ui(browser, url, key=KEY) as ui:
        page = ui.page
        ui.open("models")
        page.focus("#tab-models")
        for key, tab in (
            ("ArrowRight", "activity"), ("ArrowLeft", "models"), ("End", "api"),
            ("ArrowRight", "transcribe"), ("ArrowLeft", "api"), ("Home", "transcribe"),
        ):  # fmt: skip
            page.keyboard.press(key)
            page.wait_for_selector(f"#panel-{tab}:visible")
            assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
            assert page.evaluate("location.href") == f"{url}/ui/#{tab}"
            assert page.get_by_role("tab", selected=True).count() == 1
            assert page.locator("[role=tab][tabindex='0']").count() == 1
            assert page.locator("[role=tabpanel]:visible").count() == 1
        page.go_back()
        page.wait_for_selector("#panel-api:visible")
        page.focus("#tab-api")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        page.keyboard.press("Home")
        assert page.evaluate(outline) == "solid"


def test_the_key_is_asked_for_kept_in_the_tab_and_forgotten(browser, url):
    """A wrong one is refused in the dialog; it is in no address, and gone when forgotten."""
    with opened_ui(browser, url) as ui:
        ui.expected.add(401)
        page, asked = ui.page, []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/ui")
        page.wait_for_selector("#key-dialog[open]")
        assert "didn't provide an API key" in page.inner_text("#key-problem")
        page.fill("#key-input", "wrong-key-of-nobody")
        page.keyboard.press("Enter")
        ui.text("#key-problem", "Incorrect API key")
        assert page.is_visible("#key-dialog")
        page.fill("#key-input", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-dialog", state="hidden")
        ui.drawn("transcribe")
        stored = "[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
        session, local, cookies = page.evaluate(stored)
        assert KEY in session
        assert KEY not in local + cookies + page.content()
        assert not [address for address in asked if KEY in address]
        page.click("#key-button")
        page.click("#key-forget")
        page.wait_for_selector("#key-dialog[open]")  # the server asks again
        assert KEY not in page.evaluate("JSON.stringify(sessionStorage)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_shuts_anybody_out(browser, url, scheme):
    """axe finds nothing serious: names, roles, contrast, order, in both schemes."""
    with opened_ui(browser, url, scheme=scheme, key=KEY) as ui:
        for tab in TABS:
            ui.open(tab)
            assert ui.violations() == [], tab
        ui.page.click("#key-button")
        assert ui.violations() == []


def test_nothing_is_wider_than_a_phone(browser, url):
    """360 pixels, and the 320 of text twice as large: no tab scrolls sideways."""
    with opened_ui(browser, url, size=PHONE, key=KEY) as ui:
        for tab in TABS:
            ui.open(tab)
            for width in (320, PHONE[0]):
                ui.page.set_viewport_size({"width": width, "height": PHONE[1]})
                assert ui.width() == width, tab


def test_the_header_is_skipped_without_leaving_the_tab(browser, url):
    """The focus goes to the content, the address stays."""
    with opened_ui(browser, url, key=KEY) as ui:
        ui.open("live")
        ui.page.focus("#skip")
        ui.page.keyboard.press("Enter")
        assert ui.page.evaluate("document.activeElement.id") == "content"
        assert ui.page.is_visible("#panel-live")
        assert ui.page.evaluate("location.hash") == "#live"


def test_nothing_of_an_administrator_stays_when_the_key_is_forgotten(browser, url):
    """Neither engines nor settings, however long the server takes to ask for another key."""
    with opened_ui(browser, url, key=KEY) as ui:
        ui.expected.add(401)
        page = ui.page
        ui.open("models")
        ui.open("system")
        page.click("#key-button")
        page.click("#key-forget")
        page.wait_for_selector("#key-dialog[open]")
        assert page.locator("#system-body dl, #models-body .model").count() == 0
        assert page.locator("#system-body .card:visible").count() == 0


def test_colours_follow_the_system_or_the_switch(browser, url):
    """And stay as chosen."""
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened_ui(browser, url, scheme="dark", key=KEY) as ui:
        page = ui.page
        ui.open()
        dark = page.evaluate(ground)
        page.click("#theme")
        light = page.evaluate(ground)
        assert dark != light
        page.click("#theme")
        assert page.evaluate(ground) == dark
        page.click("#theme")  # as the system is, which turns light
        page.emulate_media(color_scheme="light")
        assert page.evaluate(ground) == light
        page.click("#theme")
        page.click("#theme")
        page.reload()
        assert page.evaluate(ground) == dark
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("getComputedStyle(document.getElementById('tabs')).transitionDuration")


def test_examples_hold_this_server_and_no_key_until_it_is_shown(browser, url):
    """Copied as they stand."""
    with opened_ui(browser, url, key=KEY) as ui:
        page = ui.page
        ui.open("api")
        assert page.inner_text("#a-base") == f"{url}/v1"
        for name in ("curl", "python", "javascript", "openwebui"):
            text = page.inner_text(f"#snippet-{name} pre")
            assert f"{url}/v1" in text
            assert "demo" in text
            assert KEY not in text
        page.click("#a-reveal")
        assert KEY in page.inner_text("#snippet-curl pre")
        page.click("#snippet-curl button")
        ui.text("#announcer", "Copied.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.inner_text("#snippet-curl pre")
        page.click("#a-reveal")
        assert KEY not in page.content()


def test_a_page_from_elsewhere_on_the_network_says_why_it_has_no_microphone(browser, url):
    """Browsers keep it from insecure contexts; the page tells what to do."""
    far = url.replace("127.0.0.1", FAR)
    with opened_ui(browser, far, key=KEY) as ui:
        ui.open("live")
        assert "https://" in ui.page.inner_text("#live-insecure")
        assert "ssh -L 8000" in ui.page.inner_text("#live-insecure")
        assert ui.page.is_disabled("#l-start")
        assert ui.violations() == []
        ui.page.click("#tab-api")
        ui.page.focus("#snippet-curl button")
        ui.page.keyboard.press("Enter")  # no clipboard of its own there, either
        ui.text("#announcer", "Copied.")
        assert ui.page.evaluate("document.activeElement.matches('#snippet-curl button')")
        ui.page.click("#tab-transcribe")
        ui.drawn("transcribe")
        ui.page.click("#record")
        ui.page.wait_for_selector("#t-error:visible")
        assert "https://" in ui.page.inner_text("#t-error")
