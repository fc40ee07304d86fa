"""A report of availability: for every site its line, and each service that it uses, month by month."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from collector.availability import (
    Account,
    Period,
    Seen,
    account,
    all_of,
    any_of,
    eaten,
    held,
    nothing,
    silenced,
    within,
)
from collector.database import incidents
from collector.history import cause_told
from collector.incident import Place
from collector.naming import Names
from collector.record import incident_of
from collector.verdicts import minutes_of, says

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.availability_times import Month
    from collector.catalogue import Catalogue, Signal
    from collector.config import Config
    from collector.engine import Engine
    from collector.incident import Incident
    from collector.maintenance import Window
    from collector.store import Store

NS = 1_000_000_000
Thing = Literal["line", "service"]
_CUT_OFF = ("line", "power")
_SITES_AT_ONCE = 50


class Bite(NamedTuple):
    """An incident, and how many of a row's minutes it ate."""

    incident: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Row:
    """One site's line, or one service as that site saw it, in one month; without a site, as all of them saw it."""

    month: str
    site: str
    site_name: str
    group: str
    thing: Thing
    service: str
    service_name: str
    account: Account
    bites: tuple[Bite, ...] = ()
    unexplained: int = 0
    """Minutes down that lie in no incident."""


@dataclass(frozen=True, slots=True)
class Past:
    """An incident that touches the time of the report: when, in nanoseconds; whom it reached, whom it cut off."""

    id: str
    began_at: int
    resolved_at: int | None
    place: Place
    cause: str
    text: dict[str, str]
    sites: frozenset[str]
    cut_off: frozenset[str]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a page or a table shows."""

    months: list[Month]
    rows: list[Row]
    past: dict[str, Past]
    planned: list[tuple[Window, int, int]]
    goal: float
    zone: str
    now: int


@dataclass(slots=True)
class _Sources:
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


class Availability:
    """Answers for a running collector."""

    def __init__(self, config: Config, catalogue: Catalogue, engine: Engine, store: Store, database: sa.Engine) -> None:
        """Read from these; nothing is written."""
        self._config = config
        self._catalogue = catalogue
        self._engine = engine
        self._store = store
        self._database = database
        self._names = Names(config)

    def report(self, months: list[Month], *, site: str | None, service: str | None, now: int) -> Report:
        """Return the report of these months: of all, or of one site or one service. `now` in nanoseconds."""
        past = self._past(months[0].start * NS, months[-1].end * NS)
        sources = self._sources()
        names = {each.site: (each.name, each.group) for each in self._config.sites}
        wanted = [each for each in sources if site in (None, each)]
        rows: list[Row] = []
        shared: defaultdict[str, list[Seen]] = defaultdict(list)
        for first in range(0, len(wanted), _SITES_AT_ONCE):
            part = {each: sources[each] for each in wanted[first : first + _SITES_AT_ONCE]}
            seen = self._read(part, months)
            for each, those in part.items():
                things = self._things(each, those, seen, months, past, service)
                name, group = names.get(each, (each, ""))
                for place, what in things.items():
                    rows += self._rows(place, what, months, past.values(), (name, group))
                    if place.kind == "service" and place.name in self._engine.places.shared:
                        shared[place.name].append(what)
        for name, parts in shared.items():
            if site is None:
                rows += self._rows(Place("service", "", name), any_of(parts), months, past.values(), ("", ""))
        rules = self._config.availability
        return Report(months, rows, past, self._planned(months, site), rules.goal_ratio, rules.time_zone, now)

    def _things(
        self,
        site: str,
        sources: _Sources,
        seen: dict[int, Seen],
        months: Sequence[Month],
        past: dict[str, Past],
        service: str | None,
    ) -> dict[Place, Seen]:
        """Return what a report says of one site: its line, and each service."""
        things: dict[Place, Seen] = {}
        count = _minute(months[-1].end, months)
        if service is None and site != self._config.own.site:
            parts = [held(seen[n]) for n in sources.lines]
            parts += [held(Seen(seen[n].up, np.zeros_like(seen[n].up))) for n in sources.counts]
            cut = [_span(each, months) for each in past.values() if site in each.cut_off]
            things[Place("path", site, "")] = silenced(any_of(parts) if parts else nothing(count), cut)
        for name, nodes in sources.services.items():
            if service in (None, name):
                checks = [all_of([held(seen[n]) for n in numbers]) for numbers in nodes.values()]
                things[Place("service", site, name)] = any_of(checks)
        return things

    def _rows(
        self, place: Place, seen: Seen, months: Sequence[Month], past: Iterable[Past], named: tuple[str, str]
    ) -> list[Row]:
        windows = self._engine.maintenance.spans(place, months[0].start * NS, months[-1].end * NS)
        planned = within((_period(start, end, months) for _, start, end in windows), len(seen.up))
        spans = [(each.id, _span(each, months)) for each in past if _concerns(each, place)]
        explained = within((span for _, span in spans), len(seen.up))
        rows = []
        for month in months:
            period = Period(_minute(month.start, months), _minute(month.end, months))
            found = [Bite(name, minutes) for name, span in spans if (minutes := eaten(seen, planned, period, span))]
            thing: Thing = "service" if place.kind == "service" else "line"
            counted = account(seen, planned, period)
            service = self._names.service(place.name)
            bites = tuple(sorted(found, key=lambda bite: -bite.minutes))
            rest = counted.down - eaten(seen, planned | ~explained, period, period)
            rows.append(Row(month.name, place.site, *named, thing, place.name, service, counted, bites, rest))
        return rows

    def _read(self, sources: dict[str, _Sources], months: Sequence[Month]) -> dict[int, Seen]:
        """Return what each signal says, minute by minute."""
        signals = [number for each in sources.values() for number in each.signals()]
        start, count = months[0].start, _minute(months[-1].end, months)
        reader = self._store.reader()
        try:
            found = reader.verdicts(signals, start, months[-1].end)
        finally:
            reader.close()
        order = np.argsort(found.signal, kind="stable")
        numbers, firsts = np.unique(found.signal[order], return_index=True)
        seen = dict.fromkeys(signals, nothing(count))
        for number, rows in zip(numbers.tolist(), np.split(order, firsts[1:]), strict=False):
            up, down = (minutes_of(word[rows], found.hour[rows], start, count) for word in (found.up, found.down))
            seen[number] = Seen(up, down)
        return seen

    def _sources(self) -> dict[str, _Sources]:
        """Return, for each site that is configured or was heard, which signals tell of its line and its services."""
        sources = {site.site: _Sources() for site in self._config.sites}
        for signal in list(self._catalogue.signals):
            if not says(signal.metric):
                continue
            line = self._line_of(signal)
            if line is not None:
                found = sources.setdefault(line, _Sources())
                (found.counts if signal.metric == "packets_received" else found.lines).append(signal.id)
            elif (name := self._service_of(signal)) is not None:
                site = sources.setdefault(signal.series.site, _Sources())
                site.services[name][signal.series.node].append(signal.id)
        return sources

    def _line_of(self, signal: Signal) -> str | None:
        """Return whose line a signal tests: from the site, or from the data centre's side."""
        series, metric = signal.series, signal.metric.partition("[")[0]
        if series.check == "stamp_sender":
            return series.target if metric == "packets_received" else None
        if metric != "loss_ratio":
            return None
        if series.site == self._config.own.site:
            target = signal.metric.partition("[")[2].rstrip("]") or series.target
            line = self._engine.topology.addresses.get(target)
            return line.site if line is not None else target if target in self._engine.topology.sites else None
        tested = series.check == "stamp" or (
            series.check == "icmp_echo" and series.target in self._config.availability.line_targets
        )
        return series.site if tested else None

    def _service_of(self, signal: Signal) -> str | None:
        if signal.metric not in ("success", "active"):
            return None
        if self._config.services:
            return self._engine.places.service(signal.series) or None
        place = self._engine.places.of(signal.series)
        return place.name if place.kind == "service" else None

    def _past(self, start: int, end: int) -> dict[str, Past]:
        over = sa.or_(incidents.c.resolved_at.is_(None), incidents.c.resolved_at > start)
        query = sa.select(incidents).where(incidents.c.began_at < end, over).order_by(incidents.c.began_at)
        with self._database.connect() as db:
            found = [incident_of(row) for row in db.execute(query).mappings()]
        return {incident.id: _past_of(incident, self._names.place(incident.place)) for incident in found}

    def _planned(self, months: Sequence[Month], site: str | None) -> list[tuple[Window, int, int]]:
        start, end = months[0].start * NS, months[-1].end * NS
        found = [
            (window, begins, ends)
            for window in self._engine.maintenance.windows
            for begins, ends in window.spans_between(start, end)
            if site is None or window.everything or not window.sites or site in window.sites
        ]
        return sorted(found, key=lambda each: (each[1], each[0].window))


def _past_of(incident: Incident, name: str) -> Past:
    place, cause = incident.place, incident.cause
    cut: Iterable[str] = ()
    if place.kind == "silence" and cause in _CUT_OFF and not place.name:
        cut = [place.site]
    elif place.kind == "upstream" and cause in ("", *_CUT_OFF):
        cut = incident.sites
    text = cause_told(incident, name)["text"]
    sites = frozenset(incident.sites)
    return Past(incident.id, incident.began_at, incident.resolved_at, place, cause, text, sites, frozenset(cut))


def _concerns(past: Past, place: Place) -> bool:
    """Tell whether an incident may have eaten minutes of a place: a line's own, and a line's those of services too."""
    if place.site and place.site not in past.sites:
        return False
    if past.place.kind == "service":
        return place.kind == "service" and past.place.name == place.name
    return bool(place.site) and past.place.kind not in ("clock", "collector")


def _minute(second: int, months: Sequence[Month]) -> int:
    """Return how many minutes after the first month's beginning an instant lies."""
    return -(-(second - months[0].start) // 60)


def _period(start: int, end: int, months: Sequence[Month]) -> Period:
    """Return the minutes that a span of nanoseconds touches."""
    return Period((start // NS - months[0].start) // 60, _minute(-(-end // NS), months))


def _span(past: Past, months: Sequence[Month]) -> Period:
    end = months[-1].end * NS if past.resolved_at is None else past.resolved_at
    return _period(past.began_at, end, months)
