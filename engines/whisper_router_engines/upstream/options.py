"""What an alias may set for the upstream engine."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class UpstreamOptions(BaseModel):
    """Per-alias options."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    base_urls: tuple[str, ...] = Field(
        min_length=1,
        description='The servers, as a client would name them: `["http://10.0.0.5:8000/v1"]`.',
    )
    remote_model: str = Field(
        "whisper-1", min_length=1, description="What the model is called there."
    )
    api_key: SecretStr | None = Field(None, description="The key for all of them.")
    api_keys: Mapping[str, SecretStr] = Field(
        {}, description="Keys by base URL, where they differ."
    )
    concurrency: int = Field(
        8, ge=1, le=1024, description="How many requests each server gets at a time."
    )
    passthrough: bool = Field(
        True,
        description="Send uploads on as they come. false: decode, look for speech and plan here, "
        "and send chunks, so that a long file uses all servers.",
    )
    stream_upload: bool = Field(
        True,
        description="Send an upload on while it arrives. false: when all of it is here, with its "
        "length, for servers that know no chunked requests.",
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, le=600, description="How long a connection may take to be made."
    )
    answer_timeout_s: float = Field(
        600.0, gt=0, le=86_400, description="How long a server may be silent while it works."
    )

    @field_validator("api_key", "api_keys")
    @classmethod
    def _keys_fit_into_a_header(cls, value: Any) -> Any:
        keys = value.values() if isinstance(value, Mapping) else [value]
        texts = [key.get_secret_value() for key in keys if key is not None]
        if not all(text and text.isascii() and text.isprintable() for text in texts):
            raise ValueError("a key is empty, or holds what no HTTP header may hold")
        return value

    @field_validator("remote_model")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it has no name")
        return value

    @field_validator("base_urls")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        urls = tuple(_address(url) for url in value)
        if twice := sorted({url for url in urls if urls.count(url) > 1}):
            raise ValueError(f"named twice: {', '.join(twice)}")
        return urls

    @model_validator(mode="after")
    def _keys_have_servers(self) -> "UpstreamOptions":
        if unknown := sorted({_address(url) for url in self.api_keys} - set(self.base_urls)):
            raise ValueError(f"api_keys: not one of base_urls: {', '.join(unknown)}")
        return self

    def key(self, base_url: str) -> SecretStr | None:
        """Return the key for one of `base_urls`."""
        own = {_address(url): key for url, key in self.api_keys.items()}
        return own.get(base_url, self.api_key)


def _address(url: str) -> str:
    wrong = "not an address such as http://10.0.0.5:8000/v1"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(wrong) from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL holds no key: use api_key or api_keys")
    is_web = parts.scheme in {"http", "https"} and parts.hostname and port != 0
    if not is_web or parts.query or parts.fragment or len(url.split()) != 1:
        raise ValueError(wrong)
    return url.strip().rstrip("/")
