"""A page whose name points at this machine after it was opened, in a browser."""

import pytest

from support.server import running_server
from support.ui_page import FAR, REBOUND, chromium

READ = """async (path) => {
  const headers = {"Accept-Language": "*", "User-Agent": "curl/8.14.1"};
  const answer = await fetch(path, {headers, referrerPolicy: "no-referrer"});
  return [answer.status, await answer.text()];
}"""
UNGUARDED = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
"""As other browsers are, and older ones: nothing else keeps sites from local addresses."""
LISTEN = """() => new Promise((done) => {
  const socket = new WebSocket("/v1/realtime?model=demo");
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> str:
    """Of a server that asks nobody for a key."""
    folder = tmp_path_factory.mktemp("keyless")
    with running_server(folder, config='default_model = "demo"\n') as server:
        yield server.url.rpartition(":")[2]


def test_it_reads_nothing_of_a_server_without_keys(port):
    """However it disguises itself: its own origin is the one that it asks."""
    with chromium(UNGUARDED) as browser:
        page = browser.new_page()
        page.route("**/evil", lambda route: route.fulfill(body="<p>Good day</p>"))
        page.goto(f"http://{REBOUND}:{port}/evil")  # and then its name points elsewhere
        for path in ("/v1/models", "/v1/config", "/v1/jobs", "/metrics", "/ui/"):
            status, text = page.evaluate(READ, path)
            assert (status, "host_not_allowed" in text) == (403, True), path
        assert page.evaluate(LISTEN.replace('"/v1', f'"ws://{REBOUND}:{port}/v1')) == "refused"


def test_people_use_local_names(port):
    """The page and its sockets work as they do by address."""
    with chromium() as browser:
        page = browser.new_page()
        answer = page.goto(f"http://{FAR}:{port}/ui/")
        assert answer is not None
        assert answer.status == 200
        assert page.evaluate(READ, "/v1/models")[0] == 200
        assert page.evaluate(LISTEN.replace('"/v1', f'"ws://{FAR}:{port}/v1')) == "open"
