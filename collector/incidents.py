"""The incidents that are open or were lately, and each way in which one moves on. Pure: facts in, transitions out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from collector.incident import HOUR, REPORT_HOURS, Happened, Incident, Place, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.explain import Group
    from collector.incident import Cause, Severity, Tell
    from collector.troubles import Note, Trouble

_AHEAD = 4 * HOUR
_REPORTS = tuple(hours * HOUR - _AHEAD for hours in REPORT_HOURS)
"""So long before each report of a serious incident is due, people are reminded."""


class Incidents:
    """What is open, by place; what ended not long ago, so that it can be the same again."""

    def __init__(self, *, reopen_seconds: float = 1800, serious_sites: int = 10) -> None:
        """Begin with none. Ill again within `reopen_seconds`, it is the same incident."""
        self.open: dict[Place, Incident] = {}
        self.ended: dict[Place, Incident] = {}
        self.reopen = int(reopen_seconds * 1e9)
        self._serious_sites = serious_sites
        self._open_at: Counter[str] = Counter()
        self._count = 0

    def begin(self, group: Group, troubles: Sequence[Trouble], notes: Sequence[Note], at: int) -> Transition:
        """Open an incident for a group, or open the last one of its place again."""
        incident = self._again(group.place, at)
        happened: list[Happened] = []
        tell: Tell = "opened" if incident is None else "reopened"
        if incident is None:
            self._count += 1
            began_at = min(trouble.began_at for trouble in troubles)
            incident = Incident(
                id=f"{self._count:06d}", place=group.place, began_at=began_at, opened_at=at, evidence={}
            )
            happened.append(Happened(began_at, "began"))
        self.open[group.place] = incident
        incident.severity, incident.cause = severity_of(troubles), group.cause
        self._fill(incident, group, troubles)
        shown = next((item for trouble in troubles for item in trouble.evidence.values() if item.ill), None)
        alone = shown if len(troubles) == 1 else None
        happened.append(Happened(at, "opened" if tell == "opened" else "reopened", alone))
        happened += [note.happened for note in notes if note.happened.evidence is not alone or alone is None]
        happened += _joined(troubles, incident, at)
        incident.told = incident.told or incident.severity == "red"
        return Transition(incident, happened, tell if incident.severity == "red" else "digest", at)

    def _again(self, place: Place, at: int) -> Incident | None:
        """Return the place's last incident as an open one, where it ended not long ago."""
        before = self.ended.pop(place, None)
        if before is None or before.resolved_at is None or at - before.resolved_at > self.reopen:
            return None
        before.resolved_at, before.healing_at, before.eased_at = None, None, None
        before.most, before.lived = 0, {}
        before.reopened += 1
        self._open_at.update(before.reached)
        return before

    def update(
        self, incident: Incident, group: Group, troubles: Sequence[Trouble], notes: Sequence[Note], at: int
    ) -> Transition | None:
        """Let an open incident be what a group says now; None where nothing has changed."""
        happened, tell = [note.happened for note in notes], self._move(incident, group)
        incident.well_at = None
        if tell is not None:
            about = _about(group.place) if tell == "updated" else group.cause
            happened.append(Happened(at, "moved" if tell == "updated" else "corrected", about=about))
        _show(incident, notes)
        before = set(incident.members)
        if before != set(group.members):
            happened += _joined([trouble for trouble in troubles if trouble.place not in before], incident, at)
            gone = sorted(before.difference(group.members)) if len(before) > 1 else []
            happened += [Happened(at, "left", about=_about(place)) for place in gone]
            tell = tell or ("updated" if len(group.members) > 1 or gone else None)
        self._fill(incident, group, troubles)
        severity = severity_of(troubles)
        if incident.severity != severity:
            incident.severity = severity
            happened.append(Happened(at, "escalated" if severity == "red" else "eased"))
            tell = self._turn(incident, at)
        return Transition(incident, happened, tell, at) if happened or tell else None

    def _turn(self, incident: Incident, at: int) -> Tell:
        """Return what a change of severity is to people: who was called to it is not called again at once."""
        if incident.severity == "yellow":
            incident.eased_at = at
            return "eased"
        again = incident.told and incident.eased_at is not None and at - incident.eased_at < self.reopen
        incident.told = True
        return "updated" if again else "escalated"

    def _move(self, incident: Incident, group: Group) -> Tell | None:
        """Let an incident be where its group is; return what that is to people."""
        over = group.place == incident.place and bool(group.place.site) and group.place not in group.members
        cause = incident.cause if over and not group.cause else group.cause  # it was so, and only its traces are left
        moved, corrected = incident.place != group.place, incident.cause != cause
        incident.cause = cause
        if moved:
            del self.open[incident.place]
            incident.place = group.place
            self.open[group.place] = incident
        return "updated" if moved else "corrected" if corrected else None

    def end(self, incident: Incident, notes: Sequence[Note], at: int, *, into: Incident | None = None) -> Transition:
        """Resolve an incident; `into` names the one that it turned out to be a part of: then it ends quietly."""
        incident.resolved_at = max(at if incident.well_at is None else incident.well_at, incident.opened_at)
        incident.well_at = None
        _show(incident, notes)
        del self.open[incident.place]
        self._open_at.subtract(incident.reached)
        self.ended.pop(incident.place, None)
        self.ended[incident.place] = incident
        self._forget(at)
        last = Happened(at, "resolved") if into is None else Happened(at, "merged", about=into.id)
        tell: Tell | None = "resolved" if incident.told else "digest"
        if into is not None:
            tell = "merged" if incident.told else None
        return Transition(incident, [*(note.happened for note in notes), last], tell, at)

    def linger(self, incident: Incident, notes: Sequence[Note], at: int) -> list[Transition]:
        """Keep an incident open that is well, and not yet for long enough: what was seen of that is kept."""
        _show(incident, notes)
        return [Transition(incident, [note.happened for note in notes], None, at)] if notes else []

    def remind(self, at: int) -> list[Transition]:
        """Return serious incidents whose next report is due soon."""
        found = []
        for incident in self.open.values():
            count = incident.reminded
            if incident.serious and count < len(_REPORTS) and at >= incident.opened_at + _REPORTS[count]:
                incident.reminded += 1
                found.append(Transition(incident, [Happened(at, "due", about=str(REPORT_HOURS[count]))], "due", at))
        return found

    def next_reminder(self) -> int | None:
        """Return when the next reminder is due."""
        return min(
            (
                incident.opened_at + _REPORTS[incident.reminded]
                for incident in self.open.values()
                if incident.serious and incident.reminded < len(_REPORTS)
            ),
            default=None,
        )

    def call(self, name: str, at: int, *, serious: bool) -> list[Transition]:
        """Call an open incident serious, or not."""
        found = [incident for incident in self.open.values() if incident.id == name and incident.serious != serious]
        for incident in found:
            incident.serious = serious
        return [Transition(incident, [], None, at) for incident in found]

    def explained(self, site: str, cause: Cause, at: int) -> list[Transition]:
        """Set right why a site was silent, be the incident over or not; nobody is called.

        Of an upstream it counts what most of its sites say: where they had all been off, the power had been out.
        """
        found = []
        for incident in [*self.open.values(), *self.ended.values()]:
            place = incident.place
            if place.kind == "silence" and place.site == site:
                found += self._correct(incident, cause, at)
            elif place.kind == "upstream" and site in incident.reached:
                incident.lived[site] = cause
                off = sum(each == "off" for each in incident.lived.values())
                if 2 * off > len(incident.reached):
                    found += self._correct(incident, "power", at)
        return found

    def _correct(self, incident: Incident, cause: Cause, at: int) -> list[Transition]:
        if cause == incident.cause or (cause == "off" and incident.cause == "power"):
            return []
        incident.cause = cause
        return [Transition(incident, [Happened(at, "corrected", about=cause)], "corrected", at)]

    def open_at(self, site: str) -> int:
        """Return how many open incidents reach a site."""
        return self._open_at.get(site, 0)

    def save(self) -> dict[str, object]:
        """Return the state as plain data, for a checkpoint."""
        return {
            "open": [msgspec.to_builtins(i, str_keys=True) for i in self.open.values()],
            "ended": [msgspec.to_builtins(i, str_keys=True) for i in self.ended.values()],
            "count": self._count,
        }

    def load(self, saved: dict[str, object]) -> None:
        """Take back what `save` returned."""
        incidents = msgspec.convert(saved["open"], list[Incident], strict=False)
        self.recover(incidents, msgspec.convert(saved["count"], int))
        ended = msgspec.convert(saved.get("ended", []), list[Incident], strict=False)
        self.ended = {incident.place: incident for incident in ended}

    def recover(self, incidents: Iterable[Incident], count: int) -> None:
        """Go on from these open incidents, of `count` that there ever were."""
        self.open = {incident.place: incident for incident in incidents}
        self._open_at = Counter(site for incident in self.open.values() for site in incident.reached)
        self._count = count

    def agree(self, recorded: Sequence[Incident], count: int) -> list[Incident]:
        """Take the record's word for what opened or ended and is not in the journal; return what is new here."""
        ids = {incident.id for incident in self.open.values()}
        new = [incident for incident in recorded if incident.id not in ids]
        still = {incident.id for incident in recorded}
        kept = [incident for incident in self.open.values() if incident.id in still]
        self.recover([*kept, *new], max(self._count, count))
        return new

    def _fill(self, incident: Incident, group: Group, troubles: Sequence[Trouble]) -> None:
        incident.members = list(group.members)
        incident.most = max(incident.most, len(group.members))
        for trouble in troubles:
            incident.evidence |= trouble.evidence
            incident.began_at = min(incident.began_at, trouble.began_at)
        known = set(incident.reached)
        sites = [place.site for place in [*group.members, group.place] if place.site]
        new = [site for site in dict.fromkeys(sites) if site not in known]
        incident.reached += new
        self._open_at.update(new)
        if incident.severity == "red" and len(incident.reached) >= self._serious_sites:
            incident.serious = True

    def _forget(self, at: int) -> None:
        """Drop what can no longer be opened again."""
        old = [p for p, i in self.ended.items() if i.resolved_at is not None and at - i.resolved_at > self.reopen]
        for place in old:
            del self.ended[place]


def severity_of(troubles: Iterable[Trouble]) -> Severity:
    """Return the worst of several."""
    return "red" if any(trouble.severity == "red" for trouble in troubles) else "yellow"


def _joined(troubles: Sequence[Trouble], incident: Incident, at: int) -> list[Happened]:
    """Name the children of an incident that is at none of them."""
    return [Happened(at, "joined", about=_about(t.place)) for t in troubles if t.place != incident.place]


def _about(place: Place) -> str:
    return " ".join(part for part in (place.site, place.name) if part)


def _show(incident: Incident, notes: Sequence[Note]) -> None:
    """Let each signal that speaks for an incident stand there as it is now."""
    incident.evidence |= {note.key: note.happened.evidence for note in notes if note.happened.evidence is not None}
