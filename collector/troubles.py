"""Troubles: every place that is ill right now, by what detectors say of signals and nodes. Pure.

A trouble is no incident yet: which troubles are one incident, and whether anybody hears of it, is decided in
`explain.py` and `cases.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from collector.catalogue import Series
from collector.detect.levels import LEVELS, RED, UNKNOWN, YELLOW, LevelChanged
from collector.detect.warned import Kind, words
from collector.incident import Cause, Evidence, Happened, Place, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.limits import Colour, Limit
    from collector.catalogue import Signal
    from collector.detect.silence import Node
    from collector.detect.warned import Warned
    from collector.incident import Incident
    from collector.places import Places

_WARNINGS: tuple[Kind, ...] = get_args(Kind)


class Trouble(msgspec.Struct, kw_only=True):
    """One place that is ill. Instants are nanoseconds: when it began, when it was found."""

    place: Place
    severity: Severity
    began_at: int
    known_at: int
    cause: Cause = ""
    whole: bool = False
    """A silence of the whole site, not of one node of several."""
    alone: bool = False
    """What many shared is over, and this is still ill: it explains itself."""
    evidence: dict[int, Evidence] = {}


class Note(NamedTuple):
    """What happened to a trouble: the number of the signal that showed it, and what it showed."""

    key: int
    happened: Happened


class Troubles:
    """The troubles as they stand, and what happened to each since somebody last asked."""

    def __init__(self, places: Places) -> None:
        """Begin with none; `places` says what a signal is about."""
        self.all: dict[Place, Trouble] = {}
        self._notes: dict[Place, list[Note]] = {}
        self.changed = False
        self._places = places
        self._at: defaultdict[str, dict[Place, None]] = defaultdict(dict)  # by site
        self._place_of: dict[int, Place] = {}  # of signals that speak for a trouble, whatever is named since

    def level_changed(self, change: LevelChanged, signal: Signal, limit: Limit | None, reason: str | None) -> None:
        """Take a change of a signal's level. What is measured no more has no warnings either."""
        for kind in _WARNINGS if change.now == UNKNOWN else ():
            key = _key(change.signal, kind)
            if key in self._place_of:
                gone = evidence_of(change, signal, None, None)
                self.spoke(key, self._place_of[key], gone, began_at=change.began_at, known_at=change.known_at)
        self.spoke(
            change.signal,
            self._place_of.get(change.signal) or self._places.of(signal.series, signal.metric),
            evidence_of(change, signal, limit, reason),
            began_at=change.began_at,
            known_at=change.known_at,
        )

    def warned(self, warned: Warned, signal: Signal) -> None:
        """Take an early warning, or its end: it has a number of its own, beside its signal's level."""
        key = _key(warned.signal, warned.kind)
        place = self._place_of.get(key) or self._places.of(signal.series, signal.metric)
        self.spoke(key, place, _warning(warned, signal), began_at=warned.began_at, known_at=warned.known_at)

    def spoke(self, key: int, place: Place, evidence: Evidence, *, began_at: int, known_at: int) -> None:
        """Take what a signal, or anything with a number of its own, shows of a place."""
        trouble = self.all.get(place)
        known = trouble is not None and key in trouble.evidence
        if not evidence.ill and not known:
            return
        if trouble is None:
            trouble = Trouble(place=place, severity="yellow", began_at=began_at, known_at=known_at, evidence={})
            self._begin(trouble)
        trouble.evidence[key] = evidence
        self._place_of[key] = place
        self.changed = True
        if evidence.ill:
            trouble.began_at = min(trouble.began_at, began_at)
        happened = Happened(evidence.at, "evidence" if evidence.ill else "recovered", evidence)
        self._notes.setdefault(place, []).append(Note(key, happened))
        levels = {item.level for item in trouble.evidence.values()}
        if "red" in levels:
            if trouble.severity == "yellow":
                trouble.known_at = known_at
            trouble.severity = "red"
        elif "yellow" in levels:
            trouble.severity = "yellow"
        else:
            self._end(place)

    def stand(self, place: Place, *, began_at: int, known_at: int, severity: Severity = "red", **more: Any) -> None:
        """Take in that a place is ill as a whole, without any signal that says so."""
        if place not in self.all:
            self._begin(Trouble(place=place, severity=severity, began_at=began_at, known_at=known_at, **more))

    def over(self, place: Place) -> None:
        """Take in that such a place is well again."""
        if place in self.all:
            self._end(place)

    def silences(self, site: str, silent: Mapping[Node, int], *, whole: bool, began_at: int, known_at: int) -> None:
        """Take in which nodes of a site are silent, each with when it was last heard; `whole` when all are."""
        nodes = sorted(silent)
        if whole:
            wanted = {Place("silence", site, nodes[0][1] if len(nodes) == 1 else ""): began_at}
        else:
            wanted = {Place("silence", site, name): heard_at for (_, name), heard_at in silent.items()}
        for place in [place for place in self.of_site(site, "silence") if place not in wanted]:
            self._end(place)
        for place, since in wanted.items():
            self.stand(place, began_at=since, known_at=known_at, whole=whole)
            self.all[place].whole = whole

    def of_site(self, site: str, kind: str) -> list[Place]:
        """Return the places of a kind that are ill at a site."""
        return [place for place in self._at.get(site, ()) if place.kind == kind]

    def take_notes(self) -> dict[Place, list[Note]]:
        """Return what happened to each place since this was last asked."""
        notes, self._notes, self.changed = self._notes, {}, False
        return notes

    def save(self) -> list[Any]:
        """Return the state as plain data, for a checkpoint."""
        built: list[Any] = msgspec.to_builtins(list(self.all.values()), str_keys=True)
        return built

    def load(self, saved: list[Any]) -> None:
        """Take back what `save` returned."""
        self.adopt(msgspec.convert(saved, list[Trouble], strict=False))

    def adopt(self, troubles: Iterable[Trouble]) -> None:
        """Take in troubles as they stand."""
        for trouble in troubles:
            self._begin(trouble)
            self._place_of |= dict.fromkeys(trouble.evidence, trouble.place)

    def recall(self, incident: Incident) -> None:
        """Take an incident's word for what is ill, where nothing else is left to say so."""
        for place in incident.members:
            if place in self.all:
                continue
            mine = {k: e for k, e in incident.evidence.items() if self._places.of(_series(e), e.metric) == place}
            self._begin(
                Trouble(
                    place=place,
                    severity=incident.severity,
                    began_at=incident.began_at,
                    known_at=incident.opened_at,
                    whole=place.kind == "silence",
                    evidence=mine,
                )
            )
            self._place_of |= dict.fromkeys(mine, place)

    def _begin(self, trouble: Trouble) -> None:
        self.all[trouble.place] = trouble
        self._at[trouble.place.site][trouble.place] = None
        self.changed = True

    def _end(self, place: Place) -> None:
        self._at[place.site].pop(place, None)
        for key in self.all.pop(place).evidence:
            self._place_of.pop(key, None)
        self.changed = True


def _series(evidence: Evidence) -> Series:
    return Series(evidence.site, evidence.node, evidence.check, evidence.target)


def _key(signal: int, kind: Kind) -> int:
    """Return the number of a signal's warning: below 0, where no signal's is."""
    return -1 - (len(_WARNINGS) * signal + _WARNINGS.index(kind))


def _warning(warned: Warned, signal: Signal) -> Evidence:
    return Evidence(
        site=signal.series.site,
        node=signal.series.node,
        check=signal.series.check,
        target=signal.series.target,
        metric=signal.metric,
        level="yellow" if warned.now else "green",
        at=warned.at,
        value=warned.value if math.isfinite(warned.value) else None,
        words=words(warned, signal.metric),
    )


def evidence_of(change: LevelChanged, signal: Signal, limit: Limit | None, reason: str | None) -> Evidence:
    """Return what a change of level shows, in words as well."""
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
        site=signal.series.site,
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
