"""Every series and signal that was ever seen, each with a small number that stays its own.

Points are stored and judged by number; names are looked up once, when a series first speaks. The journal keeps the
catalogue in the same transaction as the points, so a number never changes its meaning.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Series(NamedTuple):
    """One check of one target by one node at one site."""

    site: str
    node: str
    check: str
    target: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric of a series: what is judged, and what is stored."""

    id: int
    series_id: int
    series: Series
    metric: str


class TooManySeriesError(ValueError):
    """A site names more series or signals than any site should: a defect or an attack, refused line by line."""


def series_of(measurement: str, tags: Mapping[str, str], bound_site: str | None) -> Series:
    """Return the series of a point. `bound_site` is the site that the writer's token is for, if it is for one.

    Other people's writers know no `node` and no `target`: Telegraf's `host` tag names the node, and tags that we have
    no word for become the target, so that two of its disks stay two series. `ValueError` says why a site is refused.
    """
    rest = dict(tags)
    site = rest.pop("site", bound_site)
    if site is None:
        raise ValueError("no site tag, and the token is not for one site")
    if bound_site is not None and site != bound_site:
        raise ValueError(f"the site tag says {site!r}, but the token is for {bound_site!r}")
    host = rest.pop("host", "")
    node = rest.pop("node", host)
    target = rest.pop("target", "")
    others = ",".join(f"{name}={value}" for name, value in sorted(rest.items()))
    return Series(site, node, measurement, f"{target},{others}" if target and others else target or others)


class Catalogue:
    """Numbers for names. Reading is free of locks; giving out a number takes one."""

    def __init__(self, *, max_signals_per_site: int = 20_000) -> None:
        """Begin empty; `restore` takes back what the journal kept."""
        self.series: list[Series] = []
        self.signals: list[Signal] = []
        self._series_ids: dict[Series, int] = {}
        self._signal_ids: dict[tuple[int, str], int] = {}
        self._per_site: dict[str, int] = {}
        self._max_per_site = max_signals_per_site
        self._lock = threading.Lock()

    def restore(self, series: Iterable[Series], signals: Iterable[tuple[int, str]]) -> None:
        """Take the numbers that an earlier run gave out, in their order."""
        for item in series:
            self._add_series(item)
        for series_id, metric in signals:
            self._add_signal(series_id, metric)

    def series_id(self, series: Series) -> int:
        """Return the number of a series, a new one if it was never seen."""
        found = self._series_ids.get(series)
        if found is not None:
            return found
        with self._lock:
            found = self._series_ids.get(series)
            return self._add_series(series) if found is None else found

    def signal_id(self, series_id: int, metric: str) -> int:
        """Return the number of a metric of a series; `TooManySeriesError` when its site has had enough."""
        found = self._signal_ids.get((series_id, metric))
        if found is not None:
            return found
        with self._lock:
            found = self._signal_ids.get((series_id, metric))
            if found is not None:
                return found
            site = self.series[series_id].site
            if self._per_site.get(site, 0) >= self._max_per_site:
                raise TooManySeriesError(f"site {site!r} already has {self._max_per_site} signals, the most allowed")
            return self._add_signal(series_id, metric)

    def find(self, series: Series, metric: str) -> int | None:
        """Return the number of a signal, or None where it was never seen."""
        series_id = self._series_ids.get(series)
        return None if series_id is None else self._signal_ids.get((series_id, metric))

    def metrics_of(self, series_id: int) -> list[str]:
        """Return the metrics that a series has had."""
        return [signal.metric for signal in self.signals if signal.series_id == series_id]

    def _add_series(self, series: Series) -> int:
        number = self._series_ids[series] = len(self.series)
        self.series.append(series)
        return number

    def _add_signal(self, series_id: int, metric: str) -> int:
        number = len(self.signals)
        series = self.series[series_id]
        self.signals.append(Signal(number, series_id, series, metric))
        self._signal_ids[(series_id, metric)] = number
        self._per_site[series.site] = self._per_site.get(series.site, 0) + 1
        return number
