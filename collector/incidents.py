"""Incidents: what is worth a person's attention, as pure transitions on what the detectors say.

One place that is ill is one incident, however many signals show it: a stopped web server is seen by its port, its page
and its unit, and rings once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from collector.detect.levels import LEVELS, RED, YELLOW, LevelChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.limits import Colour, Limit
    from collector.catalogue import Series, Signal
    from collector.config import Service
    from collector.detect.silence import SilenceChanged

Kind = Literal["service", "path", "node", "silence"]
Happening = Literal["began", "opened", "evidence", "recovered", "resolved"]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0)]


class Place(msgspec.Struct, frozen=True):
    """Where it is: a kind of thing, at a site, with the name people know it by."""

    kind: Kind
    site: str
    name: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One signal that speaks for an incident, as it stood when it last changed. `at` is when it was measured."""

    node: str
    check: str
    target: str
    metric: str
    level: str
    at: Nanoseconds
    value: float | None = None
    limit: float | None = None
    words: dict[str, str] = {}
    reason: str | None = None


class Happened(msgspec.Struct, frozen=True):
    """One line of a timeline: when, what kind of thing, and the evidence it is about, if any."""

    at: Nanoseconds
    kind: Happening
    evidence: Evidence | None = None


class Incident(msgspec.Struct, kw_only=True):
    """A condition worth a person's attention. Dated from when it began, not from when it was noticed."""

    id: str
    place: Place
    began_at: Nanoseconds
    opened_at: Nanoseconds
    severity: str = "red"
    resolved_at: Nanoseconds | None = None
    evidence: dict[int, Evidence] = {}
    """By signal number; a silence has none."""

    @property
    def open(self) -> bool:
        """Tell whether it still lasts."""
        return self.resolved_at is None


class Transition(msgspec.Struct, frozen=True):
    """An incident as it stands after a step, and what was new about it. `tell` names what people are to be told."""

    incident: Incident
    happened: list[Happened]
    tell: Literal["opened", "resolved"] | None = None


class Places:
    """Which place a signal is about: the inventory's services first, then what the target itself says."""

    def __init__(self, services: Sequence[Service]) -> None:
        """Know the targets of every service."""
        self._services: dict[str, str] = {}
        self.name(services)

    def name(self, services: Sequence[Service]) -> None:
        """Know these services instead."""
        self._services = {target: service.service for service in services for target in service.targets}

    def service(self, series: Series) -> str:
        """Return the inventory's service that a series is about, "" where it is about none."""
        return self._services.get(series.target) or self._services.get(endpoint(series.target)) or ""

    def of(self, series: Series) -> Place:
        """Return the place that a series is about."""
        service = self.service(series)
        if service:
            return Place("service", series.site, service)
        if series.check == "icmp_echo":
            return Place("path", series.site, series.target)
        if series.check in ("host_health", "agent") or not series.target:
            return Place("node", series.site, series.node)
        return Place("service", series.site, endpoint(series.target))


def endpoint(target: str) -> str:
    """Return `host:port` of a web address, so that a page and its port are one place; anything else as it is."""
    if "://" not in target:
        return target
    try:
        parts = urlsplit(target)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return target
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Incidents:
    """The open incidents, and the steps that open, extend and resolve them."""

    def __init__(self, places: Places) -> None:
        """Begin with none open."""
        self.open: dict[Place, Incident] = {}
        self._places = places
        self._open_at: Counter[str] = Counter()
        self._place_of: dict[int, Place] = {}  # of signals that speak for an open incident, whatever is named since
        self._count = 0

    def level_changed(
        self, change: LevelChanged, signal: Signal, limit: Limit | None, reason: str | None
    ) -> list[Transition]:
        """Take a change of a signal's level. Only red opens an incident; only the last red signal's end resolves it."""
        place = self._place_of.get(change.signal) or self._places.of(signal.series)
        incident = self.open.get(place)
        speaks = change.now == RED
        if incident is None:
            return [self._opened(place, change, signal, limit, reason)] if speaks else []
        if not speaks and change.signal not in incident.evidence:
            return []
        evidence = _evidence(change, signal, limit, reason)
        if speaks:
            incident.evidence[change.signal] = evidence
            self._place_of[change.signal] = place
            incident.began_at = min(incident.began_at, change.began_at)
            return [Transition(incident, [Happened(change.at, "evidence", evidence)])]
        incident.evidence[change.signal] = evidence
        recovered = Happened(change.at, "recovered", evidence)
        if any(item.level == "red" for item in incident.evidence.values()):
            return [Transition(incident, [recovered])]
        return [self._resolved(incident, change.at, [recovered])]

    def silence_changed(self, change: SilenceChanged) -> list[Transition]:
        """Take a node's falling silent, or its being heard again."""
        site, node = change.node
        place = Place("silence", site, node)
        incident = self.open.get(place)
        if change.silent:
            if incident is not None:
                return []
            incident = self._new(place, change.heard_at, change.known_at)
            began = Happened(change.heard_at, "began")
            return [Transition(incident, [began, Happened(change.known_at, "opened")], "opened")]
        return [] if incident is None else [self._resolved(incident, change.known_at, [])]

    def open_at(self, site: str) -> int:
        """Return how many incidents are open at a site."""
        return self._open_at.get(site, 0)

    def save(self) -> dict[str, object]:
        """Return the state as plain data, for a checkpoint."""
        return {"open": [msgspec.to_builtins(i, str_keys=True) for i in self.open.values()], "count": self._count}

    def load(self, saved: dict[str, object]) -> None:
        """Take back what `save` returned."""
        incidents = msgspec.convert(saved["open"], list[Incident], strict=False)
        self.recover(incidents, msgspec.convert(saved["count"], int))

    def recover(self, incidents: Sequence[Incident], count: int) -> None:
        """Go on from these open incidents, of `count` that there ever were."""
        self.open = {incident.place: incident for incident in incidents}
        self._open_at = Counter(place.site for place in self.open)
        self._place_of = {signal: i.place for i in incidents for signal in i.evidence}
        self._count = count

    def agree(self, recorded: Sequence[Incident], count: int) -> list[Incident]:
        """Take the record's word for what opened or ended by the mere passing of time; return what is new here.

        That is not in the journal, so judging it again does not find it; and its number must not be given out twice.
        """
        ids = {incident.id for incident in self.open.values()}
        new = [incident for incident in recorded if incident.id not in ids]
        still = {incident.id for incident in recorded}
        kept = [incident for incident in self.open.values() if incident.id in still]
        self.recover([*kept, *new], max(self._count, count))
        return new

    def _opened(
        self, place: Place, change: LevelChanged, signal: Signal, limit: Limit | None, reason: str | None
    ) -> Transition:
        incident = self._new(place, change.began_at, change.known_at)
        evidence = incident.evidence[change.signal] = _evidence(change, signal, limit, reason)
        self._place_of[change.signal] = place
        began = Happened(change.began_at, "began")
        return Transition(incident, [began, Happened(change.known_at, "opened", evidence)], "opened")

    def _new(self, place: Place, began_at: int, known_at: int) -> Incident:
        self._count += 1
        incident = Incident(id=f"{self._count:06d}", place=place, began_at=began_at, opened_at=known_at, evidence={})
        self.open[place] = incident
        self._open_at[place.site] += 1
        return incident

    def _resolved(self, incident: Incident, at: int, happened: list[Happened]) -> Transition:
        incident.resolved_at = at
        del self.open[incident.place]
        self._open_at[incident.place.site] -= 1
        for signal in incident.evidence:
            self._place_of.pop(signal, None)
        return Transition(incident, [*happened, Happened(at, "resolved")], "resolved")


def _evidence(change: LevelChanged, signal: Signal, limit: Limit | None, reason: str | None) -> Evidence:
    level, entered, words = LEVELS[change.now], None, {}
    if limit is not None and change.value is not None:
        colour: Colour = "red" if change.now == RED else "yellow" if change.now == YELLOW else "green"
        bound = limit.red if colour == "red" else limit.yellow
        entered = bound.enter if bound else None
        words = {
            "vi": limit.breach(change.value, colour, "vi", signal.metric),
            "en": limit.breach(change.value, colour, "en", signal.metric),
        }
    return Evidence(
        node=signal.series.node,
        check=signal.series.check,
        target=signal.series.target,
        metric=signal.metric,
        level=level,
        at=change.at,
        value=change.value,
        limit=entered,
        words=words,
        reason=reason,
    )
