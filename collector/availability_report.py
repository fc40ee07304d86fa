"""A report of availability: for every site its line, and each service that it uses, month by month."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
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
from collector.availability_sources import sources_of
from collector.database import incidents
from collector.history import cause_told
from collector.incident import Place
from collector.naming import Names
from collector.record import incident_of
from collector.verdicts import minutes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.availability_sources import Sources
    from collector.availability_times import Month
    from collector.catalogue import Catalogue
    from collector.config import Config
    from collector.engine import Engine
    from collector.incident import Incident
    from collector.store import Store
    from collector.window import Window

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


class _Time(NamedTuple):
    """The time that a report is about: its months, and what happened and was planned in it (by the window's name)."""

    months: list[Month]
    past: dict[str, Past]
    spans: dict[str, list[tuple[int, int]]]


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
        start, end = months[0].start * NS, months[-1].end * NS
        spans = {window.window: window.spans_between(start, end) for window in self._engine.maintenance.windows}
        time = _Time(months, self._past(start, end), spans)
        sources = sources_of(self._config, self._catalogue, self._engine)
        names = {each.site: (each.name, each.group) for each in self._config.sites}
        wanted = [each for each in sources if site in (None, each)]
        rows: list[Row] = []
        shared: defaultdict[str, list[Seen]] = defaultdict(list)
        for first in range(0, len(wanted), _SITES_AT_ONCE):
            part = {each: sources[each] for each in wanted[first : first + _SITES_AT_ONCE]}
            seen = self._read(part, months)
            for each, those in part.items():
                things = self._things(each, those, seen, time, service)
                name, group = names.get(each, (each, ""))
                for place, what in things.items():
                    rows += self._rows(place, what, time, (name, group))
                    if place.kind == "service" and place.name in self._engine.places.shared:
                        shared[place.name].append(what)
        for name, parts in shared.items():
            if site is None:
                rows += self._rows(Place("service", "", name), any_of(parts), time, ("", ""))
        rules = self._config.availability
        return Report(months, rows, time.past, self._planned(time, site), rules.goal_ratio, rules.time_zone, now)

    def _things(
        self,
        site: str,
        sources: Sources,
        seen: dict[int, Seen],
        time: _Time,
        service: str | None,
    ) -> dict[Place, Seen]:
        """Return what a report says of one site: its line, and each service."""
        things: dict[Place, Seen] = {}
        if service is None and site != self._config.own.site:
            parts = [held(seen[n]) for n in sources.lines]
            parts += [held(Seen(seen[n].up, np.zeros_like(seen[n].up))) for n in sources.counts]
            cut = [_span(each, time.months) for each in time.past.values() if site in each.cut_off]
            count = _minute(time.months[-1].end, time.months)
            things[Place("path", site, "")] = silenced(any_of(parts) if parts else nothing(count), cut)
        for name, nodes in sources.services.items():
            if service in (None, name):
                checks = [all_of([held(seen[n]) for n in numbers]) for numbers in nodes.values()]
                things[Place("service", site, name)] = any_of(checks)
        return things

    def _rows(self, place: Place, seen: Seen, time: _Time, named: tuple[str, str]) -> list[Row]:
        windows = [
            span for each in self._engine.maintenance.touching(place) for span in time.spans.get(each.window, ())
        ]
        planned = within((_period(*span, time.months) for span in windows), len(seen.up))
        spans = [(each.id, _span(each, time.months)) for each in time.past.values() if _concerns(each, place)]
        explained = within((span for _, span in spans), len(seen.up))
        rows = []
        for month in time.months:
            period = Period(_minute(month.start, time.months), _minute(month.end, time.months))
            found = [Bite(name, minutes) for name, span in spans if (minutes := eaten(seen, planned, period, span))]
            thing: Thing = "service" if place.kind == "service" else "line"
            counted = account(seen, planned, period)
            service = self._names.service(place.name)
            bites = tuple(sorted(found, key=lambda bite: -bite.minutes))
            rest = counted.down - eaten(seen, planned | ~explained, period, period)
            rows.append(Row(month.name, place.site, *named, thing, place.name, service, counted, bites, rest))
        return rows

    def _read(self, sources: dict[str, Sources], months: Sequence[Month]) -> dict[int, Seen]:
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

    def _past(self, start: int, end: int) -> dict[str, Past]:
        over = sa.or_(incidents.c.resolved_at.is_(None), incidents.c.resolved_at > start)
        query = sa.select(incidents).where(incidents.c.began_at < end, over).order_by(incidents.c.began_at)
        with self._database.connect() as db:
            found = [incident_of(row) for row in db.execute(query).mappings()]
        return {incident.id: _past_of(incident, self._names.place(incident.place)) for incident in found}

    def _planned(self, time: _Time, site: str | None) -> list[tuple[Window, int, int]]:
        found = [
            (window, begins, ends)
            for window in self._engine.maintenance.windows
            for begins, ends in time.spans.get(window.window, ())
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
