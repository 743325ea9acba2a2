"""Which model a name in a request means. Pure: it never looks at the disk or the network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from whisper_router.errors import ConfigurationError, ModelNotFound
from whisper_router.models.catalogue import Presets, load_presets
from whisper_router.models.source import ModelSource, ModelSpec, Origin

__all__ = ["Catalog", "ListedModel", "did_you_mean", "load_presets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A name that requests may use, and the model it means, whose own name is `spec.alias`."""

    id: str
    spec: ModelSpec


class Catalog:
    """Every model by every name.

    A name is looked for among the configured aliases, the engines' bundled models, the presets,
    the presets' other names and the OpenAI API's model ids, in this order. The ids mean the default
    alias, which is the preset `Presets.default` when it is `whisper-1` and nobody configured it.
    """

    def __init__(
        self,
        *,
        aliases: Mapping[str, ModelSpec],
        bundled: Mapping[str, ModelSpec],
        presets: Presets,
        default_alias: str = "whisper-1",
    ) -> None:
        """Raises ConfigurationError: `default_alias` is no model's name."""
        self._aliases = dict(aliases)
        self._bundled = dict(bundled)
        self._presets = presets
        self._default = self._find_default(default_alias)

    @property
    def default(self) -> ModelSpec:
        """What the OpenAI API's model ids mean."""
        return self._default

    def resolve(self, name: str) -> ModelSpec:
        """Return the model that `name` means.

        Raises:
            ModelNotFound: no model has this name; the message says which name may be meant.
        """
        if (spec := self._find(name)) is not None:
            return spec
        if name == self._default.alias or name in self._presets.openai_ids:
            return self._default
        raise ModelNotFound(self._explain(name))

    def list(self, *, installed: Callable[[ModelSource], bool]) -> Sequence[ListedModel]:
        """Return what a client is shown: all names but those of presets that are not installed.

        Presets that are not installed can be asked for all the same.
        """
        return [
            entry
            for entry in self._all()
            if entry.spec.origin is not Origin.PRESET
            or entry.spec.alias == self._default.alias
            or installed(entry.spec.source)
        ]

    def list_all(self) -> Sequence[ListedModel]:
        """Return every name with its model, but for the presets' other names."""
        return [*self._all()]

    def _all(self) -> Iterator[ListedModel]:
        named = {**self._presets.specs, **self._bundled, **self._aliases}
        order = [*self._aliases, *self._bundled, *self._presets.specs]
        ids = [self._default.alias, *self._presets.openai_ids]
        for name in dict.fromkeys([*self._aliases, *ids, *order]):
            yield ListedModel(id=name, spec=named.get(name, self._default))

    def _find(self, name: str) -> ModelSpec | None:
        return self._aliases.get(name) or self._bundled.get(name) or self._presets.find(name)

    def _find_default(self, alias: str) -> ModelSpec:
        if (spec := self._find(alias)) is not None:
            return spec
        if alias in self._presets.openai_ids:
            return replace(self._presets.specs[self._presets.default], alias=alias)
        raise ConfigurationError(
            f"default_model = '{alias}': no alias, bundled model or preset has this name"
            f"{did_you_mean(alias, self._names())}"
        )

    def _names(self) -> Sequence[str]:
        return [
            *self._aliases,
            *self._bundled,
            *self._presets.specs,
            *self._presets.other_names,
            *self._presets.openai_ids,
        ]

    def _explain(self, name: str) -> str:
        hint = did_you_mean(name, self._names())
        return (
            f"The model '{name[:200]}' does not exist{hint or '.'} "
            "GET /v1/models lists what is ready; `whisper-router models list` lists every model."
        )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a question with the name that may be meant, after a full stop; empty: none is near."""
    near = get_close_matches(name.lower()[:100], known, n=1, cutoff=0.6)
    return f". Did you mean '{near[0]}'?" if near else ""
