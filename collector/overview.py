"""How every site stands right now: what the board's tiles show, read from the judge's own state."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.levels import LEVELS, RED
from collector.words import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.catalogue import Catalogue, Signal
    from collector.config import Site
    from collector.detect.silence import Node
    from collector.engine import Engine

_PATH = ("loss_ratio", "rtt_median_seconds")


class Overview:
    """Answers for sites; keeps only an index of which signals are whose."""

    def __init__(self, engine: Engine, catalogue: Catalogue, configured: Sequence[Site]) -> None:
        """Look at `engine`; the configured sites are known even before they speak."""
        self._engine = engine
        self._catalogue = catalogue
        self._configured = {site.site: site for site in configured}
        self._signals: dict[str, list[int]] = {site.site: [] for site in configured}
        self._nodes: defaultdict[str, dict[Node, None]] = defaultdict(dict)
        self._paths: defaultdict[str, dict[int, dict[str, int]]] = defaultdict(dict)
        self._indexed = 0

    def sites(self) -> list[str]:
        """Return every site that is configured or was ever heard, configured ones first."""
        self._index()
        return list(self._signals)

    def summary(self, site: str) -> dict[str, Any] | None:
        """Return what a tile shows, or None for a site that nobody knows."""
        self._index()
        if site not in self._signals:
            return None
        levels = self._engine.levels
        judged = self._judged(site)
        silent = self._silent(site)
        level = levels.level[judged].copy()
        if silent:
            level[[self._node(s) in silent for s in judged.tolist()]] = 0
        worst = RED if silent else int(level.max(initial=0))
        counts = np.bincount(level, minlength=len(LEVELS))
        known = self._configured.get(site)
        heard_at = self._engine.silence.heard_at
        heard = [heard_at[node] for node in self._nodes[site] if node in heard_at]
        shown = {
            "site": site,
            "name": known.name if known else site,
            "group": known.group if known else "",
            "level": LEVELS[worst],
            "since": self._since(judged, level, worst, silent),
            "last_heard_at": rfc3339(max(heard)) if heard else None,
            "silent": bool(silent),
            "signals": {name: int(counts[number]) for number, name in enumerate(LEVELS)},
            "open_incidents": self._engine.incidents.open_at(site),
            **({} if silent else self._path(site)),
        }
        return {name: value for name, value in shown.items() if value is not None}

    def detail(self, site: str) -> dict[str, Any] | None:
        """Return what a site's page shows beside its incidents, or None for a site that nobody knows."""
        summary = self.summary(site)
        if summary is None:
            return None
        silence = self._engine.silence
        nodes: dict[str, dict[str, Any]] = {}
        series: dict[int, dict[str, Any]] = {}
        for number in self._signals[site]:
            signal = self._catalogue.signals[number]
            node = signal.series.node
            heard_at = silence.heard_at.get((site, node))
            told = {"node": node, "last_heard_at": rfc3339(heard_at), "silent": (site, node) in silence.silent}
            nodes[node] = {name: value for name, value in told.items() if value is not None}
            one = series.setdefault(signal.series_id, {**_names(signal), "metrics": []})
            one["metrics"].append(signal.metric)
        signals = [self.signal(number) for number in self._judged(site).tolist()]
        return {**summary, "nodes": list(nodes.values()), "signals": signals, "series": list(series.values())}

    def signal(self, number: int) -> dict[str, Any]:
        """Return one judged signal as it stands."""
        levels, signal = self._engine.levels, self._catalogue.signals[number]
        silent = self._node(number) in self._engine.silence.silent
        said_at, reason = self._engine.reasons.get(signal.series_id, (0, None))
        measured_at = int(levels.measured_at[number])
        value = float(levels.value[number])
        told = {
            **_names(signal),
            "metric": signal.metric,
            "level": "unknown" if silent else LEVELS[int(levels.level[number])],
            "value": value if measured_at and not math.isnan(value) else None,
            "measured_at": rfc3339(measured_at or None),
            "since": rfc3339(int(levels.since[number]) or None),
            "reason": reason if said_at == measured_at else None,
        }
        return {name: item for name, item in told.items() if item is not None}

    def _path(self, site: str) -> dict[str, float]:
        """Return the worst path's round trip and loss: what was measured last, or nothing."""
        levels = self._engine.levels
        losses, round_trips = [], []
        for signals in self._paths[site].values():
            loss, rtt = signals.get("loss_ratio"), signals.get("rtt_median_seconds")
            if loss is None or loss >= levels.known or not levels.level[loss]:
                continue
            losses.append(float(levels.value[loss]))
            # A round trip from before the last loss is not how things stand.
            if rtt is not None and rtt < levels.known and levels.measured_at[rtt] >= levels.measured_at[loss]:
                round_trips.append(float(levels.value[rtt]))
        told = {"loss_ratio": max(losses)} if losses else {}
        return {**told, "rtt_median_seconds": max(round_trips)} if round_trips else told

    def _since(self, judged: Any, level: Any, worst: int, silent: set[Node]) -> str | None:
        if silent:
            heard_at = self._engine.silence.heard_at
            return rfc3339(min(heard_at[node] for node in silent))
        since = self._engine.levels.since[judged[level == worst]]
        if not worst or not len(since):
            return None
        return rfc3339(int(since.min() if worst > 1 else since.max()))

    def _judged(self, site: str) -> Any:
        numbers = np.array(self._signals[site], dtype=np.int64)
        numbers = numbers[numbers < self._engine.levels.known]
        return numbers[self._engine.levels.limit_of[numbers] > 0]

    def _silent(self, site: str) -> set[Node]:
        silent = self._engine.silence.silent
        return {node for node in self._nodes[site] if node in silent}

    def _node(self, number: int) -> Node:
        series = self._catalogue.signals[number].series
        return series.site, series.node

    def _index(self) -> None:
        signals = self._catalogue.signals
        while self._indexed < len(signals):
            signal = signals[self._indexed]
            series = signal.series
            self._signals.setdefault(series.site, []).append(signal.id)
            self._nodes[series.site][(series.site, series.node)] = None
            if series.check == "icmp_echo" and signal.metric in _PATH:
                self._paths[series.site].setdefault(signal.series_id, {})[signal.metric] = signal.id
            self._indexed += 1


def _names(signal: Signal) -> dict[str, str]:
    return {"node": signal.series.node, "check": signal.series.check, "target": signal.series.target}
