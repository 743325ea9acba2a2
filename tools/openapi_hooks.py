"""What schemathesis sends: real speech now and then, and addresses of nobody."""

import os
import zlib
from pathlib import Path
from typing import Any

import schemathesis

NOBODY = "http://127.0.0.1:9/audio.wav"
"""An address that the server refuses to ask: nothing leaves this machine."""
ONE_IN = 12
"""So many forms with a file come to one that is heard, which takes most of the time."""
ADDRESSES = ("url", "audio_url", "webhook", "webhook_url")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Change what is about to be sent; which forms get speech depends on their content alone."""
    body = case.body
    if not isinstance(body, dict):
        return
    for name in ADDRESSES:
        if name in body:
            body[name] = NOBODY
    if "file" in body and zlib.crc32(repr(sorted(body.items())).encode()) % ONE_IN == 0:
        body["file"] = Path(os.environ["OPENAPI_SAMPLE"]).read_bytes()
        body["model"] = "whisper-1"
        for name in ADDRESSES:
            body.pop(name, None)
