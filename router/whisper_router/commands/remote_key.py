"""The key with which a command asks a server."""

from collections.abc import Mapping

from aiohttp import hdrs

from whisper_router.errors import ConfigurationError


def key_headers(key: str | None) -> Mapping[str, str]:
    """Return the headers that present a key; none without one.

    Raises:
        ConfigurationError: it has characters that no header can have, such as line ends.
    """
    if not key:
        return {}
    if not key.isprintable():
        raise ConfigurationError("the API key has line ends or other characters that no key has")
    return {hdrs.AUTHORIZATION: f"Bearer {key}"}
