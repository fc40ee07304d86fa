"""Who is told of an incident: routes, read from the top, the first that takes it decides. Pure.

The first, and not all of them: a person reads the list down to the line that holds and knows who is called; whether a
route can ever be reached, and what no route takes, can be said before the night it matters. A route that says
`go_on: true` is told beside those below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.telling.hours import ALWAYS, Turns, minute_of, minutes_of, zone_of
from collector.telling.settings import Route
from collector.topology import Line, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from collector.config import Config
    from collector.incident import Incident, Severity
    from collector.telling.settings import Escalation

LOG = "log"
EVERYBODY = Route(route="everybody", tell=[LOG])
"""What holds where no route takes something red: every channel is told."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What routes look at of an incident."""

    severity: Severity
    kind: str
    name: str
    sites: frozenset[str]

    @classmethod
    def of(cls, incident: Incident) -> Subject:
        """Return what routes look at of `incident`."""
        sites = frozenset(site for site in incident.sites if site)
        return cls(incident.severity, incident.place.kind, incident.place.name, sites)


@dataclass(frozen=True, slots=True)
class Area:
    """Sites and upstreams that lie together."""

    sites: frozenset[str]
    upstreams: frozenset[str]

    def holds(self, subject: Subject) -> bool:
        """Tell whether all that an incident is about lies in the area: what reaches further is for a wider route."""
        if subject.kind == "upstream" and subject.name in self.upstreams:
            return True
        return bool(subject.sites) and subject.sites <= self.sites


@dataclass(frozen=True, slots=True)
class _Compiled:
    route: Route
    areas: tuple[Area, ...]
    minutes: int

    def takes(self, subject: Subject) -> bool:
        """Tell whether it is for an incident, at some hour."""
        route = self.route
        if subject.severity not in route.severity:
            return False
        if route.services and not (subject.kind == "service" and subject.name in route.services):
            return False
        return not self.areas or any(area.holds(subject) for area in self.areas)


@dataclass(frozen=True, slots=True)
class Called:
    """Who is told: by channel, whom it reaches. `by` names the routes, none where nobody's route takes it."""

    channels: Mapping[str, str]
    by: tuple[str, ...] = ()
    escalations: tuple[Escalation, ...] = ()


class Book:
    """Routes, people, rotas and escalations, as they are asked."""

    def __init__(self, config: Config) -> None:
        """Read them from a configuration that was found free of problems."""
        self.zone: ZoneInfo = zone_of(config.telling.time_zone)
        self.channels = [channel.channel for channel in config.channels]
        self._people = {person.person: person for person in config.people}
        self._rotas = {r.rota: Turns(r.people, r.since, r.days, self.zone) for r in config.rotas}
        self._escalations = {each.escalation: each for each in config.escalations}
        self._areas = areas_of(config)
        self.routes = [
            _Compiled(route, tuple(self._areas[name] for name in route.areas), minutes_of(route.hours))
            for route in config.routes
        ]

    def takers(self, subject: Subject) -> list[tuple[Route, int]]:
        """Return every route that is for an incident, in order, each with the minutes of the week it has it at."""
        left, found = ALWAYS, []
        for compiled in self.routes:
            mine = left & compiled.minutes if compiled.takes(subject) else 0
            if mine:
                found.append((compiled.route, mine))
                left &= ALWAYS if compiled.route.go_on else ~mine
        return found

    def missed(self, subject: Subject) -> int:
        """Return the minutes of the week at which no route takes an incident."""
        taken = 0
        for _, minutes in self.takers(subject):
            taken |= minutes
        return ALWAYS & ~taken

    def called(self, subject: Subject, now: int) -> Called:
        """Return who is told of an incident at `now`. Something red that no route takes is told to every channel."""
        minute = minute_of(now, self.zone)
        routes = [route for route, minutes in self.takers(subject) if minutes >> minute & 1]
        channels: dict[str, str] = {}
        for route in routes:
            channels |= {name: who for name, who in self.resolve(route.tell, now).items() if name not in channels}
        if not routes and (subject.severity == "red" or not self.routes):
            channels = dict.fromkeys(self.channels, "")
        escalations = dict.fromkeys(route.escalation for route in routes if route.escalation)
        return Called(
            channels | {LOG: ""},
            tuple(route.route for route in routes),
            tuple(self._escalations[name] for name in escalations),
        )

    def resolve(self, names: Iterable[str], now: int) -> dict[str, str]:
        """Return the channels that people, rotas and channels stand for at `now`, each with whom it reaches."""
        found: dict[str, str] = {}
        for name in names:
            person = self._people.get(self._rotas[name].at(now) if name in self._rotas else name)
            if person is None:
                found.setdefault(name, "")
            else:
                found |= {channel: person.person for channel in person.channels if channel not in found}
        return found

    def on_duty(self, names: Iterable[str], now: int) -> list[str]:
        """Return the names of who that is at `now`, for people to read: `duty (lan)`."""
        return [f"{name} ({self._rotas[name].at(now)})" if name in self._rotas else name for name in names]


def areas_of(config: Config) -> dict[str, Area]:
    """Return every area that a route can name: each upstream, each group, each site."""
    topology = Topology.of(config)
    sites_of: dict[str, set[str]] = {}
    for site in config.sites:
        for name in {site.site, site.group} - {""}:
            sites_of.setdefault(name, set()).add(site.site)
        nearest = topology.lines.get(Line(site.site, 0))
        for upstream in topology.above(nearest) if nearest is not None else ():
            sites_of.setdefault(upstream, set()).add(site.site)
    below: dict[str, set[str]] = {name: set() for name in topology.parents}
    for name in topology.parents:
        for above in topology.above(name):
            below[above].add(name)
    return {
        name: Area(frozenset(sites_of.get(name, ())), frozenset(below.get(name, ())))
        for name in sites_of.keys() | below.keys()
    }


def names_of(config: Config) -> dict[str, Sequence[str]]:
    """Return what `tell` may name, by kind."""
    return {
        "people": [person.person for person in config.people],
        "rotas": [rota.rota for rota in config.rotas],
        "channels": [LOG, *(channel.channel for channel in config.channels)],
    }
