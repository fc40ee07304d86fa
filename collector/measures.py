"""The collector's own figures, for Prometheus and for `/health`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Measures:
    """Counts what passes through. Each counter has one thread that moves it."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.points = 0
        self.lines_refused = 0
        self.registry = CollectorRegistry()
        self._delay = Histogram(
            "nhip_verdict_delay_seconds",
            "Time from a body's arrival to its verdict",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._largest = [(0, 0.0), (0, 0.0)]

    def took(self, points: int, refused: int) -> None:
        """Count what a body held."""
        self.points += points
        self.lines_refused += refused

    def judged(self, delay_seconds: float) -> None:
        """Note how long a body waited for its verdict."""
        self._delay.observe(delay_seconds)
        minute = int(time.monotonic()) // 60
        if self._largest[-1][0] != minute:
            self._largest = [self._largest[-1], (minute, 0.0)]
        if delay_seconds > self._largest[-1][1]:
            self._largest[-1] = (minute, delay_seconds)

    def largest_delay(self) -> float:
        """Return the longest of those delays in this minute and the one before, in seconds."""
        minute = int(time.monotonic()) // 60
        return max((delay for at, delay in self._largest if at >= minute - 1), default=0.0)

    def expose(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        """Add figures that are read when asked for: name → (meaning, value)."""
        self.registry.register(_Figures(self, gauges))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Figures:
    def __init__(self, measures: Measures, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._measures = measures
        self._gauges = gauges

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        measures = self._measures
        yield CounterMetricFamily("nhip_points", "Points taken in since the start", value=measures.points)
        yield CounterMetricFamily("nhip_lines_refused", "Lines refused since the start", value=measures.lines_refused)
        largest = measures.largest_delay()
        yield GaugeMetricFamily(
            "nhip_verdict_delay_largest_seconds",
            "Longest delay from arrival to verdict in the last minute or two",
            largest,
        )
        for name, (meaning, value) in self._gauges().items():
            yield GaugeMetricFamily(name, meaning, value)


if TYPE_CHECKING:
    _check: type[Collector] = _Figures
