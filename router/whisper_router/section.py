"""What every table of the configuration file is made of."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
)
from pydantic_settings import NoDecode

from whisper_router.api.deps import Dialect

MEBIBYTE = 1 << 20


def _words(value: object) -> object:
    """Let a list also be written as one comma-separated string, as environment variables must."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def is_web_address(text: str) -> bool:
    """Tell whether it begins with http:// or https:// and names a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _web_address(text: str) -> str:
    if not is_web_address(text):
        raise ValueError("must begin with http:// or https:// and a host")
    return text


WebAddress = Annotated[str, AfterValidator(_web_address)]
SomeBytes = Annotated[ByteSize, Field(ge=1)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Dialects = Annotated[tuple[Dialect, ...], NoDecode, BeforeValidator(_words)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )
