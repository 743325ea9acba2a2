"""What every table of the configuration file is made of."""

from typing import Annotated

from pydantic import (
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


SomeBytes = Annotated[ByteSize, Field(ge=1)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Dialects = Annotated[tuple[Dialect, ...], NoDecode, BeforeValidator(_words)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )
