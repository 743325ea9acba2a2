"""The APIs of other servers, each a thin module over the same pipeline."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from aiohttp import web

from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects import (
    insanely_fast_whisper,
    speaches,
    whisper_asr,
    whisper_cpp,
    whisperx,
)

__all__ = ["detailed_paths", "endpoints", "routes"]


class _Module(Protocol):
    """A module of this package."""

    @property
    def DETAILED(self) -> bool:  # noqa: N802 (a constant of the module)
        """Whether its errors are FastAPI's."""
        ...

    def routes(self, options: DialectOptions, /) -> Sequence[web.RouteDef]:
        """Return its routes."""
        ...


MODULES: Mapping[Dialect, _Module] = MappingProxyType(
    {
        Dialect.SPEACHES: speaches,
        Dialect.WHISPER_ASR: whisper_asr,
        Dialect.WHISPER_CPP: whisper_cpp,
        Dialect.INSANELY_FAST_WHISPER: insanely_fast_whisper,
        Dialect.WHISPERX: whisperx,
    }
)


def routes(options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes of the dialects that are served. They come before the OpenAI API's."""
    return [route for module in _served(options) for route in module.routes(options)]


def endpoints(options: DialectOptions) -> Sequence[str]:
    """Return methods and paths of the dialects that are served."""
    return [f"{route.method} {_canonical(route.path)}" for route in routes(options)]


def detailed_paths(options: DialectOptions) -> frozenset[str]:
    """Return the paths whose errors also have FastAPI's `detail`."""
    return frozenset(
        _canonical(route.path)
        for module in _served(options)
        if module.DETAILED
        for route in module.routes(options)
    )


def _served(options: DialectOptions) -> Sequence[_Module]:
    return [module for dialect, module in MODULES.items() if dialect in options.enabled]


def _canonical(path: str) -> str:
    """Return a path as its resource names it: without the patterns of its parts."""
    return web.UrlDispatcher().add_resource(path).canonical
