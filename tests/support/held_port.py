"""A port that stays a test's own while nobody listens there."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Yield a loopback port at which nobody listens, and which nobody else can be given meanwhile.

    Who connects is refused. A server of the test may listen there with `reuse_port`.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
