"""By which names browsers may reach a server that asks nobody for a key.

A page of any site may have its own name point at an address of our network once it is open (DNS
rebinding). For the browser our answers are that site's own then, and it reads them: transcripts,
settings, logs. Only the name in `Host` tells. Names that nobody can have on the internet are taken
for ours, and addresses, which are no names; others have to be configured.

Nothing of this holds for programs, which open no pages; nor with TLS of our own, where the
certificate has been compared with the name; nor where a key is needed, which such a page has not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from whisper_router.api.proxies import parse_address
from whisper_router.errors import PermissionDenied

LOCAL_ENDINGS: Final = frozenset({
    "corp", "home", "home.arpa", "internal", "intranet", "lan", "local", "localdomain", "localhost",
    "private", "test",
})  # fmt: skip
"""What no name on the internet ends with (RFC 2606, 6761, 6762, 8375; ICANN's reserved names)."""
HOST = re.compile(r"(?P<name>[^:\[\]\s]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
SHOWN = 100


class HostNotAllowed(PermissionDenied):
    """A browser reaches a server without keys by a name that may be another site's."""

    code = "host_not_allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """The names that are ours besides those that are nobody's on the internet.

    `*.example.org` is every name below `example.org`; `*` is every name.
    """

    names: Sequence[str] = ()

    def allows(self, host: str) -> bool:
        """Return whether `host`, as in the header of that name, may be this server's."""
        found = HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = found["name"].strip("[]").rstrip(".").lower()
        return _is_nobodys(name) or any(_matches(name, ours.lower()) for ours in self.names)


def refuse_strange_hosts(request: web.Request, policy: HostPolicy) -> None:
    """Let no browser pass that reaches us by a name that another site may have.

    Raises:
        HostNotAllowed: it does.
    """
    if request.secure or not is_browser(request.headers):
        return
    host = request.headers.get(hdrs.HOST, "")
    if not policy.allows(host):
        raise HostNotAllowed(
            f"Browsers may not use this server as '{host[:SHOWN]}': it asks nobody for a key, and "
            "a page of another site could reach it by such a name. Use its address, or add the "
            "name to server.allowed_hosts."
        )


def is_browser(headers: Mapping[str, str]) -> bool:
    """Return whether a page may have sent this.

    A page can leave out or rewrite much, but a browser always says which languages its user reads.
    Node's `fetch` says that it reads all, and something of the mode that browsers tell nobody who
    is reached without TLS.
    """
    if hdrs.ORIGIN in headers or "Sec-Fetch-Site" in headers:
        return True
    languages = headers.get(hdrs.ACCEPT_LANGUAGE)
    return languages is not None and not (languages == "*" and "Sec-Fetch-Mode" in headers)


def _is_nobodys(name: str) -> bool:
    """Return whether nobody can have the name on the internet, so that it is of our network."""
    if parse_address(name) is not None or "." not in name:
        return bool(name)
    labels = name.split(".")
    return labels[-1] in LOCAL_ENDINGS or ".".join(labels[-2:]) in LOCAL_ENDINGS


def _matches(name: str, ours: str) -> bool:
    return ours in {"*", name} or (ours.startswith("*.") and name.endswith(ours[1:]))
