"""What would have rung with another configuration: the same recording judged twice, and what differs."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from collector.history import cause_told
from collector.incident import LOUD
from collector.judging import judged_of
from collector.naming import Names
from collector.words import lasted, local

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.config import Config
    from collector.incident import Place, Transition
    from collector.recording import Recording

NS = 1_000_000_000
_LEAST = 2 * NS
_NEAR = 300 * NS
What = Literal["only_old", "only_new", "changed"]


@dataclass(slots=True)
class Told:
    """One incident as a run of the judge had it, from its first word to its last. Instants are nanoseconds."""

    id: str
    place: Place
    began_at: int
    opened_at: int
    severity: str
    kind: str
    text: dict[str, str]
    sites: list[str]
    resolved_at: int | None = None
    rang_at: int | None = None
    rings: int = 0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two runs say differently of one fault, and how in words."""

    what: What
    old: Told | None
    new: Told | None
    changes: list[str] = field(default_factory=list)

    @property
    def at(self) -> int:
        """Return when it matters first."""
        return min(each.rang_at or each.opened_at for each in (self.old, self.new) if each is not None)


def told_by(recording: Recording, config: Config) -> list[Told]:
    """Return every incident that judging a recording by a configuration finds, in the order of opening."""
    names = Names(config)
    told: dict[str, Told] = {}
    for judged in judged_of(recording, config):
        for transition in judged.transitions:
            _take(told, transition, names)
    return list(told.values())


def compare(recording: Recording, old: Config, new: Config) -> tuple[list[Told], list[Told]]:
    """Judge a recording by two configurations at once, each on a core of its own."""
    # Forked, so that both have what has been read already.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork, initializer=_share, initargs=(recording,)) as pool:
        other = pool.submit(_told_in_child, old)
        mine = told_by(recording, new)
        return other.result(), mine


def differences(old: Iterable[Told], new: Iterable[Told], slack: int = _LEAST) -> list[Difference]:
    """Pair the incidents of two runs, and return what differs: who rang in one alone, or later, or otherwise.

    What never rang in either run is no difference. `slack` (nanoseconds) is what two runs may differ by unsaid.
    """
    left = sorted(old, key=lambda told: told.opened_at)
    found: list[Difference] = []
    for one in sorted(new, key=lambda told: told.opened_at):
        before = _partner(one, left)
        if before is None:
            if one.rang_at is not None:
                found.append(Difference("only_new", None, one))
            continue
        left.remove(before)
        if changes := _changes(before, one, max(slack, _LEAST)):
            found.append(_changed(before, one, changes))
    found += [Difference("only_old", one, None) for one in left if one.rang_at is not None]
    return sorted(found, key=lambda each: each.at)


def _changed(old: Told, new: Told, changes: list[str]) -> Difference:
    if old.rang_at is None or new.rang_at is None:  # it is found in both, and rings in one
        return Difference("only_old" if new.rang_at is None else "only_new", old, new, changes)
    return Difference("changed", old, new, changes)


def _partner(one: Told, others: Sequence[Told]) -> Told | None:
    """Return the other run's incident of the same fault: at the same place and time, else of the same sites."""
    near = [other for other in others if _overlap(one, other)]
    same = [other for other in near if other.place == one.place]
    shared = [other for other in near if set(other.sites) & set(one.sites) and other.rang_at and one.rang_at]
    return min(same or shared, key=lambda other: abs(other.opened_at - one.opened_at), default=None)


def _overlap(one: Told, other: Told) -> bool:
    ends = (one.resolved_at or 1 << 63, other.resolved_at or 1 << 63)
    return one.began_at <= ends[1] + _NEAR and other.began_at <= ends[0] + _NEAR


def _changes(old: Told, new: Told, slack: int) -> list[str]:
    changes = []
    if old.rang_at is None or new.rang_at is None:
        if old.rang_at is None and new.rang_at is None:
            return []
        changes.append("rings no more" if new.rang_at is None else "rings now")
    elif abs(new.rang_at - old.rang_at) > slack:
        changes.append(f"rings {_moved(old.rang_at, new.rang_at)}")
    if old.severity != new.severity:
        changes.append(f"is {new.severity}, was {old.severity}")
    if (old.place, old.kind) != (new.place, new.kind):
        changes.append(f"is told as: {new.text['en']}")
    if (old.resolved_at is None) != (new.resolved_at is None):
        changes.append("is not over at the end" if new.resolved_at is None else "is over at the end")
    elif old.resolved_at is not None and new.resolved_at is not None and abs(old.resolved_at - new.resolved_at) > slack:
        changes.append(f"ends {_moved(old.resolved_at, new.resolved_at)}")
    if old.rings != new.rings and old.rings and new.rings:
        changes.append(f"rings {new.rings} times, not {old.rings}")
    return changes


def _moved(old: int, new: int) -> str:
    return f"{lasted(abs(new - old), 'en')} {'later' if new > old else 'earlier'}"


def _take(told: dict[str, Told], transition: Transition, names: Names) -> None:
    incident = transition.incident
    cause = cause_told(incident, names.place(incident.place))
    one = told.get(incident.id)
    if one is None:
        one = told[incident.id] = Told(
            incident.id, incident.place, incident.began_at, incident.opened_at, incident.severity, "", {}, []
        )
    one.place, one.kind, one.text = incident.place, cause["kind"], cause["text"]
    one.sites, one.resolved_at = list(incident.sites), incident.resolved_at
    one.where = names.where(incident.place)
    one.severity = "red" if "red" in (one.severity, incident.severity) else incident.severity
    if transition.tell in LOUD and transition.tell != "resolved":
        one.rang_at = transition.at if one.rang_at is None else one.rang_at
        one.rings += 1


_shared: Recording


def _share(recording: Recording) -> None:
    global _shared  # noqa: PLW0603  (a forked process has no other way to be given what cannot be sent)
    _shared = recording


def _told_in_child(config: Config) -> list[Told]:
    return told_by(_shared, config)


def shown(one: Told) -> dict[str, Any]:
    """Return an incident as programs read it."""
    told = {
        "id": one.id,
        "kind": one.kind,
        "site": one.place.site,
        "place": one.place.name,
        "sites": one.sites,
        "severity": one.severity,
        "began_at": one.began_at,
        "rang_at": one.rang_at,
        "resolved_at": one.resolved_at,
        "text": one.text["en"],
    }
    return {name: value for name, value in told.items() if value is not None}


def in_words(one: Told) -> str:
    """Say an incident in a line."""
    where = one.where if one.where in ("", one.place.site) else f"{one.where} ({one.place.site})"
    where = where if one.place.site else f"{len(one.sites)} sites"
    rang = local(one.rang_at) if one.rang_at else f"{local(one.opened_at)} (quiet)"
    until = f"until {local(one.resolved_at)}" if one.resolved_at else "not over"
    return f"{rang}  {one.severity:<6}  {where}: {one.text['en']}  ({until})"
