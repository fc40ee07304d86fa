"""Which signals tell of which line and which service. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.verdicts import says

if TYPE_CHECKING:
    from collector.catalogue import Catalogue, Signal
    from collector.config import Config
    from collector.engine import Engine


@dataclass(slots=True)
class Sources:
    """Which signals tell of what: by node, since one node's checks are judged together."""

    lines: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    services: defaultdict[str, defaultdict[str, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def signals(self) -> list[int]:
        """Return all of them."""
        services = (numbers for nodes in self.services.values() for numbers in nodes.values())
        return [*self.counts, *self.lines, *(number for numbers in services for number in numbers)]


def sources_of(config: Config, catalogue: Catalogue, engine: Engine) -> dict[str, Sources]:
    """Return, for each site that is configured or was heard, which signals tell of its line and its services."""
    sources = {site.site: Sources() for site in config.sites}
    for signal in list(catalogue.signals):
        if not says(signal.metric):
            continue
        line = _line_of(signal, config, engine)
        if line is not None:
            found = sources.setdefault(line, Sources())
            (found.counts if signal.metric == "packets_received" else found.lines).append(signal.id)
        elif (name := _service_of(signal, config, engine)) is not None:
            site = sources.setdefault(signal.series.site, Sources())
            site.services[name][signal.series.node].append(signal.id)
    return sources


def _line_of(signal: Signal, config: Config, engine: Engine) -> str | None:
    """Return whose line a signal tests: from the site, or from the data centre's side."""
    series, metric = signal.series, signal.metric.partition("[")[0]
    if series.check == "stamp_sender":
        return series.target if metric == "packets_received" else None
    if metric != "loss_ratio":
        return None
    if series.site == config.own.site:
        target = signal.metric.partition("[")[2].rstrip("]") or series.target
        line = engine.topology.addresses.get(target)
        return line.site if line is not None else target if target in engine.topology.sites else None
    tested = series.check == "stamp" or (
        series.check == "icmp_echo" and series.target in config.availability.line_targets
    )
    return series.site if tested else None


def _service_of(signal: Signal, config: Config, engine: Engine) -> str | None:
    if signal.metric not in ("success", "active"):
        return None
    if config.services:
        return engine.places.service(signal.series) or None
    place = engine.places.of(signal.series)
    return place.name if place.kind == "service" else None
