"""Our encoder says what the library's own says, only sooner."""

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from whisper_router.api.metrics_text import encode
from whisper_router.metrics import COUNTED, REGISTRY

VALUES = (0.0, 1, 0.1, 1e-7, 123456.0, 999999.5, 1e6, 12345678.9, 1e21, math.inf, math.nan, -1.5)


def library(*registries: CollectorRegistry) -> bytes:
    encoder, _ = choose_encoder("")
    return b"".join(encoder(registry) for registry in registries)


@pytest.mark.parametrize("alias", ["demo", 'a "b"\\c\nd', "größe", ""])
def test_each_line_is_the_library_s(alias):
    """With every kind of number and of label; and again, when lines, or their begins, are kept."""
    registry = CollectorRegistry()
    counter = Counter("c", "One\nline \\.", ["alias", "a"], registry=registry)
    histogram = Histogram("h", "About.", ["alias"], registry=registry, buckets=(0.1, 1, 10))
    plain = Histogram("p", "Without labels.", registry=registry)
    for _ in range(2):
        for value in VALUES:
            if value >= 0:
                counter.labels(alias, str(value)).inc(value)
            histogram.labels(alias).observe(value)
            plain.observe(value)
        for _ in range(2):  # the second time nothing has been counted
            assert encode([counter, histogram, plain], []) == library(registry)
    histogram.labels(alias).observe(0)  # neither the sum nor another's lines change
    assert encode([counter, histogram, plain], []) == library(registry)


def test_figures_of_the_moment_too():
    """Gauges and counters that are made for the answer."""

    class Now:
        def collect(self):
            gauge = GaugeMetricFamily("g", "About.", labels=["alias"])
            counter = CounterMetricFamily("s", "Starts.", labels=["alias"])
            for value in VALUES:
                gauge.add_metric([str(value)], value)
            counter.add_metric(["demo"], 3)
            yield from (gauge, counter)

    registry = CollectorRegistry()
    registry.register(Now())
    assert encode([], registry.collect()) == library(registry)


def test_all_that_is_counted_is_told():
    """In the same order."""
    assert encode(COUNTED, []) == library(REGISTRY)
    assert Gauge not in {type(metric) for metric in COUNTED}
