"""Finds blocking calls of our modules inside the event loop."""

import contextlib
from collections.abc import Iterator

from blockbuster import blockbuster_ctx


@contextlib.contextmanager
def no_blocking_calls() -> Iterator[None]:
    """Let every blocking call fail, but for the start of a child and what the log writes.

    The log's outlet writes where there is room, and waits for nobody.
    `subprocess.Popen` waits some milliseconds for the exec, on asyncio's own path too; it has to
    stay in the loop's thread (see `whisper_router.supervisor.child.Child`).
    """
    with blockbuster_ctx("whisper_router") as blocker:
        blocker.functions["os.read"].can_block_in("whisper_router/supervisor/child.py", "_start")
        blocker.functions["os.write"].can_block_in("whisper_router/log_outlet.py", "_write")
        yield
