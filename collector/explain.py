"""Which troubles are one fault, and where it is. Pure: the same troubles explain the same in whatever order they came.

* Lines that fail together are their upstream's fault: of the lowest upstream that has enough of them behind it, if no
  higher one explains more. Enough is more than half of what hangs on it, or several at the same time: three lines, or
  two upstreams, by chance within seconds of each other, are not worth considering.
* A site with two lines is explained only when both are; one of two lost is a redundancy lost, and no more.
* A service of the data centre that two sites see failing is that service's fault.
* At a site that is silent, or whose line is impaired, services fail because of that; where names are not resolved,
  those that are reached by name.
* While our own uplink is lost nobody's silence means anything.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from collector.incident import Cause, Place
from collector.places import endpoint
from collector.topology import ROOT, Line, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from collector.troubles import Trouble

_SECOND = 1_000_000_000
_FRESH = 300 * _SECOND
_BEFORE = 120 * _SECOND
_LINES, _UPSTREAMS = 3, 2
_LOST = 0.99
_EXCUSABLE = ("service", "path", "redundancy", "node", "clock")
_LINE_CAUSES = ("", "line", "power")


class Group(NamedTuple):
    """Troubles that are one fault. `complete`: nothing more can come to it, so that there is nothing to wait for."""

    place: Place
    members: list[Place]
    cause: Cause = ""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """What explaining stands on, beside the troubles themselves."""

    topology: Topology
    units: Mapping[str, int] = field(default_factory=dict)
    """How many watched lines and upstreams hang on each upstream directly."""
    shared_services: AbstractSet[str] = frozenset()
    kept: Mapping[Place, Place] = field(default_factory=dict)
    """Troubles that stay with the incident they are in, whatever else holds: by trouble, that incident's place."""
    blind: bool = False
    own_site: str = "data-centre"
    own_uplink: AbstractSet[str] = frozenset()
    """Whom the data centre's own probes reach only over its own uplink."""
    together: int = 10 * _SECOND


class _Unit(NamedTuple):
    """A line, or an upstream with the lines behind it: since when it is lost."""

    at: int
    lines: tuple[Line, ...]
    is_line: bool


def explain(troubles: Mapping[Place, Trouble], ground: Ground) -> list[Group]:
    """Return every trouble in exactly one group."""
    work = _Explaining(troubles, ground)
    if ground.blind:
        work.blind()
    work.lines()
    work.impaired()
    work.services()
    work.clocks()
    work.sites()
    return work.groups()


class _Explaining:
    def __init__(self, troubles: Mapping[Place, Trouble], ground: Ground) -> None:
        self._troubles, self._ground = dict(sorted(troubles.items())), ground
        self._home: dict[Place, Place] = {t: ground.kept[t] for t in self._troubles if t in ground.kept}
        self._causes: dict[Place, Cause] = {}
        self._complete: set[Place] = set()
        self._paths: defaultdict[str, list[Trouble]] = defaultdict(list)
        for place, trouble in self._troubles.items():
            if place.kind == "path" and self._tests_line(trouble):
                self._paths[place.site].append(trouble)
        self._silent = {p.site: t for p, t in self._troubles.items() if p.kind == "silence" and t.whole}
        self._unresolved = {p.site: t for p, t in self._troubles.items() if p.kind == "service" and _resolves(t)}

    def blind(self) -> None:
        own = Place("collector", self._ground.own_site, "")
        for trouble in self._silent.values():
            if trouble.place.site != own.site and trouble.cause != "agent":
                self._home.setdefault(trouble.place, own)
        for place in self._troubles:
            if place.kind == "path" and place.site == own.site and place.name in self._ground.own_uplink:
                self._home.setdefault(place, own)
        self._complete.add(own)

    def lines(self) -> None:
        """Assign silent sites, and lost second lines, to upstreams."""
        topology = self._ground.topology
        lost: dict[Line, tuple[int, Place]] = {}
        for trouble in [t for p, t in self._troubles.items() if p.kind == "redundancy"] + list(self._silent.values()):
            place, lines = trouble.place, topology.lines_of(trouble.place.site)
            if place.kind == "redundancy":
                lines = [line for line in lines if topology.lines[line] == place.name]
            elif trouble.cause not in _LINE_CAUSES:
                continue
            if not trouble.alone and self._free(place, "upstream"):
                lost |= dict.fromkeys(lines, (trouble.began_at, place))
        found = gather({line: at for line, (at, _) in lost.items()}, self._ground, self._held("upstream", lost))
        for upstream, (lines, complete) in found.items():
            self._assign(Place("upstream", "", upstream), lines, lost, complete=complete)

    def _assign(
        self, home: Place, lines: Iterable[Line], lost: Mapping[Line, tuple[int, Place]], *, complete: bool
    ) -> None:
        explained = set(lines)
        for line in explained:
            place = lost[line][1]
            whole = place.kind != "silence" or all(
                other in explained or self._elsewhere(other) for other in self._ground.topology.lines_of(place.site)
            )
            if whole:
                self._home.setdefault(place, home)
        if complete:
            self._complete.add(home)

    def _elsewhere(self, line: Line) -> bool:
        """Tell whether a line hangs on an upstream that others are already explained by."""
        above = self._ground.topology.above(self._ground.topology.lines[line])
        homes = {home.name for home in self._home.values() if home.kind == "upstream"}
        return bool(homes & set(above))

    def impaired(self) -> None:
        """Assign sites whose test packets get lost or are late, though the sites are heard, to what they share.

        Those that are red and those that are a warning apart: a site's own fault does not make a warning of many red.
        """
        for severity in ("red", "yellow"):
            self._impaired(severity)

    def _impaired(self, severity: str) -> None:
        bad: dict[Line, tuple[int, Place]] = {}
        for place, trouble in self._troubles.items():
            lines = self._ground.topology.lines_of(place.site) if place.kind == "path" else []
            candidate = self._tests_line(trouble) and not trouble.alone and place.site not in self._silent
            if trouble.severity == severity and len(lines) == 1 and candidate and self._free(place, "upstream"):
                bad[lines[0]] = (trouble.began_at, place)
        taken = {home.name for home in self._home.values() if home.kind == "upstream"}
        found = gather({line: at for line, (at, _) in bad.items()}, self._ground, self._held("upstream", bad))
        for upstream, (lines, complete) in found.items():
            places = [bad[line][1] for line in lines]
            targets = {place.name for place in places}
            home = Place("upstream", "", upstream)
            if len(targets) == 1 and all(self._unanswered(self._troubles[place]) for place in places):
                home = Place("service", "", targets.pop())  # nobody gets an answer from it: it is at fault itself
            elif upstream not in taken:
                self._causes[home] = "impaired"
            self._assign(home, lines, bad, complete=complete)

    def services(self) -> None:
        """Assign a service's failing, as several sites see it, to the service."""
        seen: defaultdict[str, list[Place]] = defaultdict(list)
        for place, trouble in self._troubles.items():
            shared = place.kind == "service" and place.site and place.name in self._ground.shared_services
            if shared and not trouble.alone and place not in self._home and not self._excused(trouble):
                seen[place.name].append(place)
        for name, places in seen.items():
            home = Place("service", "", name)
            if len(places) > 1 or home in self._home.values():
                self._home |= dict.fromkeys(places, home)

    def clocks(self) -> None:
        """Assign lines whose tests a node with a wrong clock makes to that clock: its packets are refused."""
        wrong = {(p.site, p.name): p for p in self._troubles if p.kind == "clock" and p.name}
        for place, trouble in self._troubles.items() if wrong else ():
            nodes = {item.node for item in trouble.evidence.values()}
            clock = next((wrong[place.site, node] for node in nodes if (place.site, node) in wrong), None)
            if clock is not None and place.kind == "path" and self._tests_line(trouble):
                self._home.setdefault(place, clock)

    def sites(self) -> None:
        """Let what a site's line explains go with the line; everything else stands for itself."""
        for place, trouble in sorted(self._troubles.items(), key=lambda item: item[0].kind == "clock"):
            if place in self._home:
                continue
            excuse = self._excused(trouble) if place.kind in _EXCUSABLE else None
            self._home[place] = self._home.get(excuse, excuse) if excuse is not None else place

    def groups(self) -> list[Group]:
        """Return the groups, in the order of their places."""
        members: defaultdict[Place, list[Place]] = defaultdict(list)
        for place, home in self._home.items():
            members[home].append(place)
        return [
            Group(home, sorted(members[home]), self._cause(home, members[home]), home in self._complete)
            for home in sorted(members)
        ]

    def _cause(self, home: Place, members: list[Place]) -> Cause:
        if home.kind == "path" and any(place.kind == "clock" for place in members):
            return "clock"
        if home.kind != "upstream":
            return self._troubles[home].cause if home in self._troubles else ""
        silent = [self._troubles[place] for place in members if place.kind == "silence"]
        if not silent:
            return self._causes.get(home, "redundancy" if any(p.kind == "redundancy" for p in members) else "impaired")
        return "power" if 2 * sum(trouble.cause == "power" for trouble in silent) > len(silent) else ""

    def _excused(self, trouble: Trouble) -> Place | None:
        """Return why something fails that needs its site's line, or a name: silence, an impaired line, no name server.

        What had failed long before, failed for a reason of its own, but for the line's own tests.
        """
        site = trouble.place.site
        reasons = [self._silent[site]] if site in self._silent else []
        if trouble.place.kind == "path" and reasons and self._tests_line(trouble):
            return reasons[0].place
        if trouble.place.kind == "clock":  # test packets refused: by what they fail for, a wrong clock or a red path
            return None if trouble.place.name else self._refused(site)
        if trouble.place.kind == "node":  # a battery that the power's end was seen by
            power = any(item.metric == "on_battery" for item in trouble.evidence.values())
            return reasons[0].place if power and reasons and reasons[0].cause == "power" else None
        reasons += [path for path in self._paths.get(site, ()) if path.severity == "red"]
        if site in self._unresolved and not _resolves(trouble) and _reached_by_name(trouble):
            reasons.append(self._unresolved[site])
        for reason in reasons:
            if trouble.began_at >= reason.began_at - _BEFORE and trouble.place != reason.place:
                return reason.place
        return None

    def _refused(self, site: str) -> Place | None:
        """Return what a site's refused test packets are part of."""
        wrong = [p for p in self._troubles if p.kind == "clock" and p.site == site and p.name]
        return next(iter([*wrong, *(path.place for path in self._paths.get(site, ()))]), None)

    def _free(self, place: Place, kind: str) -> bool:
        """Tell whether a trouble is in no group yet, or kept in one of this very kind."""
        home = self._home.get(place)
        return home is None or (home.kind == kind and place in self._ground.kept)

    def _held(self, kind: str, lost: Mapping[Line, tuple[int, Place]]) -> Mapping[str, set[Line]]:
        held: defaultdict[str, set[Line]] = defaultdict(set)
        for line, (_, place) in lost.items():
            home = self._ground.kept.get(place)
            if home is not None and home.kind == kind:
                held[home.name].add(line)
        return held

    @staticmethod
    def _tests_line(trouble: Trouble) -> bool:
        return any(item.check == "stamp" for item in trouble.evidence.values())

    @staticmethod
    def _unanswered(trouble: Trouble) -> bool:
        return any(
            item.metric == "loss_ratio" and item.value is not None and item.value >= _LOST
            for item in trouble.evidence.values()
        )


def _resolves(trouble: Trouble) -> bool:
    """Tell whether what fails is to resolve names."""
    return any(item.check == "dns_query" and item.level == "red" for item in trouble.evidence.values())


def _reached_by_name(trouble: Trouble) -> bool:
    """Tell whether everything that is ill of a service is reached by name."""
    return all(not _is_address(item.target) for item in trouble.evidence.values() if item.ill)


def _is_address(target: str) -> bool:
    host = endpoint(target)
    host = host.rpartition(":")[0] if host.count(":") == 1 else host.rpartition("]")[0] or host
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def gather(
    lost: Mapping[Line, int], ground: Ground, held: Mapping[str, AbstractSet[Line]]
) -> dict[str, tuple[list[Line], bool]]:
    """Return the upstreams that explain lost lines: which lines each explains, and whether that is all behind it.

    `lost` says since when each line is lost; `held` which of them an upstream explained before: they stay its own.
    """
    topology = ground.topology
    below: defaultdict[str, list[_Unit]] = defaultdict(list)
    for line, at in lost.items():
        below[topology.lines[line]].append(_Unit(at, (line,), is_line=True))
    touched = {name for upstream in below for name in topology.above(upstream)}
    explained: dict[str, list[_Unit]] = {}
    for upstream in [*sorted(touched, key=lambda name: (-topology.depths[name], name)), ROOT]:
        chosen, down = _enough(below[upstream], ground, upstream, held.get(upstream, frozenset()))
        if chosen:
            explained[upstream] = chosen
        if down and upstream != ROOT:
            lines = tuple(line for unit in chosen for line in unit.lines)
            parent = topology.parents[upstream]
            below[parent].append(_Unit(min(unit.at for unit in chosen), lines, is_line=False))
    found: dict[str, tuple[list[Line], bool]] = {}
    taken: set[Line] = set()
    for upstream in sorted(explained, key=lambda name: (-1 if name == ROOT else topology.depths[name], name)):
        units = [unit for unit in explained[upstream] if not taken.issuperset(unit.lines)]
        if len(units) > 1 or (units and upstream in held):
            theirs = sorted(line for unit in units for line in unit.lines if line not in taken)
            found[upstream] = (theirs, len(units) >= ground.units.get(upstream, 0))
            taken.update(theirs)
    return found


def _enough(units: list[_Unit], ground: Ground, upstream: str, held: AbstractSet[Line]) -> tuple[list[_Unit], bool]:
    """Return the units that an upstream explains, and whether it is down by what is seen now."""
    if not units:
        return [], False
    newest = max(unit.at for unit in units)
    mine = {unit for unit in units if not held.isdisjoint(unit.lines)}
    fresh = [unit for unit in units if newest - unit.at <= _FRESH or unit in mine]
    if 2 * len(fresh) > ground.units.get(upstream, 0) - (len(units) - len(fresh)):
        return fresh, True
    cluster = _cluster(fresh, ground.together)
    if len(cluster) >= _LINES or sum(not unit.is_line for unit in cluster) >= _UPSTREAMS:
        return [unit for unit in fresh if unit in cluster or unit in mine], True
    return [unit for unit in units if unit in mine], False


def _cluster(units: list[_Unit], together: int) -> set[_Unit]:
    """Return the most units that failed within `together` nanoseconds of each other."""
    ordered = sorted(units)
    best = range(0)
    first = 0
    for last, unit in enumerate(ordered):
        while unit.at - ordered[first].at > together:
            first += 1
        if last + 1 - first > len(best):
            best = range(first, last + 1)
    return {ordered[index] for index in best}
