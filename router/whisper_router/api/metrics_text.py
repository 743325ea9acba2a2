"""Figures as Prometheus' text, in a fraction of the time that the library's own encoder takes.

That one makes two objects and escapes every label anew for each of thousands of lines; the event
loop would stand still meanwhile. Lines are the same (tests/api/test_metrics_text.py): the lines of
a counter or histogram are kept for as long as it counts nothing, and what stands before their
numbers for longer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.utils import floatToGoString

USUAL = 1e6
"""Numbers below it are written as Python writes them."""


@dataclass(slots=True, kw_only=True)
class _Told:
    """The lines of one counter or histogram when it was last asked for."""

    begins: tuple[str, ...]
    numbers: tuple[float, ...]
    text: str


_TOLD: dict[tuple[str, Sequence[str]], _Told] = {}
"""By metric and labels: these are bounded, so this is."""


def encode(counted: Iterable[MetricWrapperBase], now: Iterable[Metric]) -> bytes:
    """Return what is counted, and then the figures of the moment, as text format 0.0.4."""
    lines = [line for metric in counted for line in _counted(metric)]
    lines += [line for family in now for line in _family(family)]
    return "".join(lines).encode()


def _counted(metric: MetricWrapperBase) -> Iterator[str]:
    """Yield the lines of a metric of ours, read from its children without the library's copies."""
    name, kind = metric._name, metric._type
    yield from _head(f"{name}_total" if kind == "counter" else name, kind, metric._documentation)
    names = metric._labelnames
    children = list(metric._metrics.items()) if names else [((), metric)]
    for values, child in children:
        numbers, told = _numbers(child), _TOLD.get((name, values))
        if told is None or told.numbers != numbers:
            told = _TOLD[name, values] = _tell(metric, values, child, numbers, told)
        yield told.text


def _numbers(child: MetricWrapperBase) -> tuple[float, ...]:
    """Return the numbers that a counter or histogram counts in, as they are kept."""
    if isinstance(child, Histogram):
        return (child._sum.get(), *[bucket.get() for bucket in child._buckets])
    assert isinstance(child, Counter)  # noqa: S101 we have no others: whisper_router/metrics.py
    return (child._value.get(),)


def _tell(
    metric: MetricWrapperBase,
    values: Sequence[str],
    child: MetricWrapperBase,
    numbers: tuple[float, ...],
    before: _Told | None,
) -> _Told:
    samples = tuple(child._child_samples())
    if before is not None and len(before.begins) == len(samples):
        begins = before.begins
    else:
        own = tuple(zip(metric._labelnames, values, strict=True))
        begins = tuple(
            _series(metric._name + suffix, own + tuple((labels or {}).items()))
            for suffix, labels, *_ in samples
        )
    text = "".join(
        f"{begin} {_number(sample[2])}\n" for begin, sample in zip(begins, samples, strict=True)
    )
    return _Told(begins=begins, numbers=numbers, text=text)


def _family(family: Metric) -> Iterator[str]:
    suffix = "_total" if family.type == "counter" else ""
    yield from _head(family.name + suffix, family.type, family.documentation)
    for sample in family.samples:
        yield f"{_series(sample.name, tuple(sample.labels.items()))} {_number(sample.value)}\n"


def _head(name: str, kind: str | None, about: str) -> Iterator[str]:
    told = about.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {told}\n# TYPE {name} {kind}\n"


def _series(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return name
    told = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels))
    return f"{name}{{{told}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    is_plain = type(value) is float and 0 <= value < USUAL
    return repr(value) if is_plain else str(floatToGoString(value))  # type: ignore[no-untyped-call]
