"""From troubles to incidents: which rings, which waits for what is above it, which outlives its cause. Pure.

Every look explains all troubles anew (`explain.py`) and then lets the open incidents follow: the oldest one that has a
trouble of a group becomes that group's; others that the group takes in are merged into it; a group without any is a new
incident, once it has waited for what may explain it. So it matters neither in which order troubles came nor whether the
collector was started again meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from collector.detect.witness import RETURN_SECONDS
from collector.explain import Ground, explain
from collector.incident import Happened, Place
from collector.topology import ROOT, Line
from collector.troubles import Note
from collector.waiting import HEARD_NOBODY, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.config import Config
    from collector.detect.silence import Silence
    from collector.detect.witness import Witnesses
    from collector.explain import Group
    from collector.incident import Incident, Transition
    from collector.incidents import Incidents
    from collector.maintenance import Maintenance
    from collector.places import Places
    from collector.topology import Topology
    from collector.troubles import Trouble, Troubles

_SECOND = 1_000_000_000
NEVER = 1 << 63
_GRID = _SECOND // 4
_FEW = 64
"""So many troubles are explained at once; more, a few times a second: a nation lost is not a thousand explanations."""
_STILL_SECONDS = 600
_SETTLED_SECONDS, _MOST_DOUBLED = 60, 4
"""What has come back before is over once it has been well for so long: who is told of its end can rely on it."""
_WITHOUT_WITNESS_SECONDS = 10
_ENOUGH_TO_STAY = 3
_ON_ITS_WAY = 3 * _SECOND
_RANKS = {"node": 0, "clock": 0, "service": 1, "redundancy": 2, "path": 2, "silence": 4, "upstream": 6, "collector": 9}

Notes = dict[Place, list["Note"]]


class Cases:
    """Keeps nothing but when to look again, and whether our own uplink is lost."""

    def __init__(
        self,
        config: Config,
        topology: Topology,
        troubles: Troubles,
        incidents: Incidents,
        *,
        silence: Silence,
        witnesses: Witnesses,
        maintenance: Maintenance,
        places: Places,
        still_ill: Callable[[int, int], bool],
    ) -> None:
        """Explain `troubles`; `still_ill` says of a signal whether it was seen ill after an instant."""
        self._topology, self._troubles, self._incidents = topology, troubles, incidents
        self._silence, self._witnesses, self._maintenance = silence, witnesses, maintenance
        self._places, self._still_ill = places, still_ill
        self._own, self._rules = config.own, config.incidents
        self._waiting = Waiting(config, topology, silence, witnesses)
        self._units: Counter[str] = Counter()
        self._watched = -1
        self._notes: Notes = {}
        self.blind = False
        self.dirty = False
        self.due = NEVER

    def moved(self, now: int) -> list[Transition]:
        """Look, if anything has changed: at once where few troubles are open, soon where many are."""
        if not (self._troubles.changed or self.dirty):
            return []
        if len(self._troubles.all) <= _FEW:
            return self.look(now)
        self.dirty = True
        self.due = min(self.due, _next_grid(now))
        return []

    def look(self, now: int) -> list[Transition]:
        """Explain all troubles, and let the incidents follow."""
        self._keep(self._troubles.take_notes())
        self.dirty, self.due = False, NEVER
        self._ask_witnesses(now)
        self._feel_uplink(now)
        ground = Ground(
            topology=self._topology,
            units=self._count_units(),
            shared_services=self._places.shared,
            kept=self._kept(now),
            blind=self.blind,
            own_site=self._own.site,
            own_uplink=frozenset(self._own.uplink),
            together=int(self._rules.together_seconds * _SECOND),
        )
        transitions = self._follow(explain(self._troubles.all, ground), now)
        transitions += self._incidents.remind(now)
        reminder = self._incidents.next_reminder()
        self._wake(now, reminder)
        return transitions

    # What explaining stands on.

    def _ask_witnesses(self, now: int) -> None:
        for trouble in self._troubles.all.values():
            if trouble.place.kind == "silence":
                site, began_at = trouble.place.site, trouble.began_at
                trouble.cause = self._witnesses.why(site, began_at, now) if trouble.whole else "agent"

    def _feel_uplink(self, now: int) -> None:
        """Find out whether nobody can be heard because we cannot be reached: then silence means nothing."""
        since = self._witnesses.uplink_lost()
        others = [at for (site, _), at in self._silence.heard_at.items() if site != self._own.site]
        last = max(others, default=now)
        blind = since is not None and last <= since + _ON_ITS_WAY and last + HEARD_NOBODY < now
        if self.blind and not blind:
            self._silence.resume(now)
        if since is not None and not blind:
            self._wake(now, last + HEARD_NOBODY + _GRID if last + HEARD_NOBODY >= now else None)
        self.blind = blind

    def _count_units(self) -> Counter[str]:
        """Count the watched lines and upstreams that hang on each upstream."""
        if self._watched != len(self._silence.heard_at):
            self._watched = len(self._silence.heard_at)
            units, passed = Counter[str](), set[str]()
            for line, upstream in self._topology.lines.items():
                if self._silence.nodes_at.get(line.site) and self._known(line):
                    units[upstream] += 1
                    passed.update(self._topology.above(upstream))
            for upstream in passed:
                units[self._topology.parents[upstream] or ROOT] += 1
            self._units = units
        return self._units

    def _known(self, line: Line) -> bool:
        """Tell whether a line of a site that lives is seen to live: one of two may be lost unseen."""
        return len(self._topology.lines_of(line.site)) == 1 or self._witnesses.line_seen_at(line) > 0

    def _kept(self, now: int) -> dict[Place, Place]:
        """Return which troubles stay with their incident, and let speak those that its end has left behind."""
        kept: dict[Place, Place] = {}
        for incident in self._incidents.open.values():
            present = [place for place in incident.members if place in self._troubles.all]
            shared = incident.place.kind == "collector" or not incident.place.site
            if not present or not self._over(incident, self._unseen(present), shared=shared):
                incident.healing_at = None
                if shared:
                    kept |= dict.fromkeys((p for p in present if not self._worse(p, incident)), incident.place)
                continue
            if incident.healing_at is None:
                incident.healing_at = now
            left = [place for place in present if self._left_behind(self._troubles.all[place], incident, now)]
            if incident.place.kind == "upstream" and _ENOUGH_TO_STAY <= len(left) == len(present):
                incident.most, incident.healing_at = len(present), None  # the rest of it is still out, as one
                left = []
            for place in left:
                self._troubles.all[place].alone = not incident.place.site
            kept |= dict.fromkeys((place for place in present if place not in left), incident.place)
            self._wake(now, now + _SECOND)
        return kept

    def _unseen(self, places: Sequence[Place]) -> int:
        """Count places that are ill as far as anybody sees: who is seen again is only waited for."""
        silent = (place for place in places if place.kind == "silence")
        return len(places) - sum(self._witnesses.coming_back(place.site) is not None for place in silent)

    def _worse(self, place: Place, incident: Incident) -> bool:
        """Tell whether one of many that share a warning has become red: that may be a fault of its own."""
        return incident.severity == "yellow" and self._troubles.all[place].severity == "red"

    def _over(self, incident: Incident, present: int, *, shared: bool) -> bool:
        """Tell whether what an incident is about is well again, though not yet everything that it made ill."""
        if incident.place.kind == "collector":
            return not self.blind
        return 2 * present <= incident.most if shared else incident.place not in self._troubles.all

    def _left_behind(self, trouble: Trouble, incident: Incident, now: int) -> bool:
        """Tell whether a trouble is still there after what explained it is over: seen so since, and not just late."""
        healing = incident.healing_at or now
        site = trouble.place.site
        if trouble.place.kind in ("silence", "redundancy"):
            seen_since = self._witnesses.coming_back(site) if trouble.place.kind == "silence" else None
            if seen_since is not None and now < seen_since + RETURN_SECONDS * _SECOND:
                return False  # its line is back, and its agent will be: between attempts it pauses
            more = 0 if self._witnesses.has_witness(site) else _WITHOUT_WITNESS_SECONDS
            return now >= healing + int((self._rules.return_seconds + more) * _SECOND)
        if now >= healing + _STILL_SECONDS * _SECOND:
            return True
        return any(item.ill and self._still_ill(key, healing) for key, item in trouble.evidence.items())

    # What follows.

    def _follow(self, groups: Sequence[Group], now: int) -> list[Transition]:
        holder = {place: incident for incident in self._incidents.open.values() for place in incident.members}
        before = list(self._incidents.open.values())
        transitions: list[Transition] = []
        taken: dict[str, Incident] = {}  # by the id of each incident: the one that it goes on in
        fresh: list[Group] = []
        for group in groups:
            mine = {holder[place].id: holder[place] for place in group.members if place in holder}
            open_here = self._incidents.open.get(group.place)
            if open_here is not None:
                mine[open_here.id] = open_here
            able = [i for i in mine.values() if i.id not in taken and self._reaches(group.place, i.place)]
            if not able:
                fresh.append(group)
                continue
            first = open_here if open_here in able else min(able, key=lambda i: (i.opened_at, i.id))
            taken |= {incident.id: first for incident in able}
            transitions += self._merge([incident for incident in able if incident is not first], first, now)
            transitions += self._update(first, group, now)
        for incident in before:
            if incident.id in taken or not incident.open:
                continue
            notes = self._taken(incident.members)
            if self._lasts(incident, now):
                transitions.append(self._incidents.end(incident, notes, now))
            else:
                transitions += self._incidents.linger(incident, notes, now)
        for group in fresh:
            transitions += self._begin(group, now)
        return transitions

    def _lasts(self, incident: Incident, now: int) -> bool:
        """Tell whether an incident that is well has been so for long enough: the longer, the oftener it came back."""
        if not incident.reopened:
            return True
        if incident.well_at is None:
            incident.well_at = now
        patience = _SETTLED_SECONDS << min(incident.reopened - 1, _MOST_DOUBLED)
        until = incident.well_at + patience * _SECOND
        self._wake(now, until if until > now else None)
        return until <= now

    def _update(self, incident: Incident, group: Group, now: int) -> list[Transition]:
        moved = self._incidents.update(incident, group, self._of(group), self._notes_of(group, incident), now)
        if moved is None:
            return []
        quiet = moved.tell is not None and self._maintenance.covers(group, now) is not None
        return [msgspec.structs.replace(moved, tell=None) if quiet else moved]

    def _merge(self, others: list[Incident], first: Incident, now: int) -> list[Transition]:
        return [self._incidents.end(incident, [], now, into=first) for incident in others]

    def _begin(self, group: Group, now: int) -> list[Transition]:
        troubles = self._of(group)
        at = self._waiting.until(group, troubles, alive=not self.blind)
        until = self._maintenance.covers(group, now)
        if until is not None:
            self._withhold(group, now)
            at = max(at, until)
        if at > now:
            # Proof that nothing else explains it may come any moment; with many troubles open nobody looks for it.
            soon = at if len(self._troubles.all) > _FEW else min(at, _next_grid(now))
            self._wake(now, soon)
            return []
        return [self._incidents.begin(group, troubles, self._taken(group.members), now)]

    def _withhold(self, group: Group, now: int) -> None:
        """Note, once, that planned work keeps a group from being told."""
        for place in group.members:
            notes = self._notes.setdefault(place, [])
            if all(note.happened.kind != "suppressed" for note in notes):
                notes.append(Note(0, Happened(now, "suppressed")))

    def _reaches(self, place: Place, other: Place) -> bool:
        """Tell whether an incident at `other` may go on at `place`: there, or at what it turned out to be part of."""
        if place == other:
            return True
        if place.kind == other.kind == "upstream":
            return self._topology.covers(place.name, other.name)
        return _rank(place) > _rank(other) or (place.kind == other.kind == "silence" and place.name == "")

    def _of(self, group: Group) -> list[Trouble]:
        return [self._troubles.all[place] for place in group.members]

    # What happened to each trouble, for the timeline of whichever incident it is in.

    def _keep(self, notes: Notes) -> None:
        for place, items in notes.items():
            self._notes.setdefault(place, []).extend(items)
        for place in [place for place in self._notes if place not in self._troubles.all and place not in notes]:
            del self._notes[place]  # it came and went, and nobody was told

    def _taken(self, places: Sequence[Place]) -> list[Note]:
        return [note for place in places for note in self._notes.pop(place, ())]

    def _notes_of(self, group: Group, incident: Incident) -> list[Note]:
        members = set(group.members)
        return self._taken([*group.members, *(place for place in incident.members if place not in members)])

    def _wake(self, now: int, at: int | None) -> None:
        if at is not None:
            self.due = min(self.due, max(at, now + 1))

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {"blind": self.blind, "due": self.due}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned, and look at the next occasion."""
        self.blind, self.due = saved["blind"], saved["due"]


def _rank(place: Place) -> int:
    if place.kind == "clock" and place.name:
        return 3  # a node's own clock explains its path
    return 5 if place.kind == "service" and not place.site else _RANKS[place.kind]


def _next_grid(now: int) -> int:
    return (now // _GRID + 1) * _GRID
