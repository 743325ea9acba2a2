"""Keys that a test makes up; each is sent as `secret-NAME`."""

from pathlib import Path
from typing import Any

from whisper_router.api.key_source import KeyFile
from whisper_router.api.keys import Key, KeyLimits, KeyRing, hash_key


def a_key(name: str, **about: Any) -> Key:
    """Return a key; `about` may name its limits, too."""
    limits = {field: about.pop(field) for field in KeyLimits.__slots__ if field in about}
    return Key(name=name, hash=hash_key(f"secret-{name}"), limits=KeyLimits(**limits), **about)


def sent(name: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"x-api-key": f"secret-{name}"}


class Keys:
    """A source of these keys; a test may change them."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)

    async def ring(self) -> KeyRing:
        """Return them as they are now."""
        return KeyRing(self.keys, required=True)


def two_and_an_administrator(directory: Path) -> KeyFile:
    """Return a file with the keys of ann, ben and boss, who is one; see `bearer`."""
    path = directory / "keys.toml"
    path.touch(mode=0o600)
    path.write_text(
        "".join(f'[keys.{name}]\nhash = "{hash_key(name)}"\n' for name in ("ann", "ben"))
        + f'[keys.boss]\nhash = "{hash_key("boss")}"\nadmin = true\n'
    )
    return KeyFile(path)


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows this key itself."""
    return {"Authorization": f"Bearer {key}"}
