"""The judge: detectors and incidents put together as one step over journal entries. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.early import EarlyWarning
from collector.detect.levels import LevelChanged, Levels
from collector.detect.silence import Silence, SilenceChanged
from collector.incidents import Incidents, Places, Transition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Catalogue
    from collector.columns import Columns
    from collector.config import Config
    from collector.detect.shifts import Shift
    from collector.detect.silence import Node
    from collector.detect.warned import Warned
    from collector.incidents import Incident

HEARTBEAT = "agent"
"""The measurement that makes a node watched for silence."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one step found: signals whose level changed or shifted, nodes that fell silent or spoke, incidents."""

    levels: list[LevelChanged]
    silences: list[SilenceChanged]
    transitions: list[Transition]
    shifts: list[Shift] = field(default_factory=list)
    warned: list[Warned] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Tell whether anything happened."""
        return bool(self.levels or self.silences or self.transitions or self.shifts or self.warned)


class Engine:
    """All state of judging, and the two steps that move it: `step` for what arrives, `tick` for what does not."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        """Judge by `config`, naming things by `catalogue`."""
        self._catalogue = catalogue
        self._late = int(config.late_seconds * 1e9)
        self._stale = int(config.stale_seconds * 1e9)
        self.places = Places(config.services)
        self.levels = Levels(config.all_limits(), self.places.service)
        self.early = EarlyWarning()
        self.silence = Silence(config.silence_seconds, config.restart_grace_seconds)
        self.incidents = Incidents(self.places)
        self.reasons: dict[int, tuple[int, str]] = {}
        self._series_of: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by signal
        self._node_of: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by series
        self._heartbeat: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # by series
        self._nodes: dict[Node, int] = {}
        self._node_names: list[Node] = []
        self._measured_at = np.zeros(0, dtype=np.int64)  # by node: its newest measurement
        self._expired_at = 0

    def step(self, columns: Columns, *, arrived_at: int, sent_at: int | None = None) -> Judged:
        """Take in one entry. Instants are nanoseconds.

        Late points (measured long before they were sent, by the sender's own clock; by ours where it tells none) are
        history: they are stored, and judge nothing. So a backlog never rings, and a wrong clock never silences.
        """
        self._learn()
        levels: list[LevelChanged] = []
        shifts: list[Shift] = []
        warned: list[Warned] = []
        transitions: list[Transition] = []
        sent_at = arrived_at if sent_at is None else sent_at
        silences = self._heard(columns, arrived_at, sent_at)
        horizon = sent_at - self._late
        timely = columns.measured_at > horizon
        for series_id, said_at, name, text in columns.texts:
            if said_at > horizon and name in ("reason", "error", "notes"):
                self.reasons[series_id] = (said_at, text)
        signals, at, values = columns.signals, columns.measured_at, columns.values
        if not timely.all():
            signals, at, values = signals[timely], at[timely], values[timely]
        if len(signals):
            known_at = np.broadcast_to(np.int64(arrived_at), at.shape)
            levels = self.levels.step(signals, at, values, known_at, sent_at)
            shifts, warned = self.early.step(signals, at, values, known_at, sent_at, self.levels.level)
        return self._judged(levels, silences, transitions, shifts, warned)

    def tick(self, now: int) -> Judged:
        """Let time pass until `now`: silences whose deadline has come, and verdicts that have gone stale."""
        self._learn()
        levels: list[LevelChanged] = []
        warned = self.early.flapping.tick(now)
        # At fixed instants, so that judging the journal again after a crash finds the same, however often it looks.
        due = now - now % max(self._stale // 10, 1)
        if due > self._expired_at:
            self._expired_at = due
            levels = self._expire(due)
            warned += self.early.expire(
                self._measured_at[self._node_of[self._series_of]], self._stale, self.levels.level, due
            )
        return self._judged(levels, self.silence.tick(now), [], warned=warned)

    def resume(self, now: int) -> None:
        """Begin again after the collector itself was away."""
        self.silence.resume(now)

    def recover(self, now: int) -> None:
        """Watch every node that ever sent a heartbeat, where no checkpoint is left to say so."""
        for series in self._catalogue.series:
            if series.check == HEARTBEAT:
                self.silence.watch((series.site, series.node), now)

    def agree(self, recorded: Sequence[Incident], count: int) -> None:
        """Go on from what the record says is open, once the journal is judged again: see `Incidents.agree`."""
        for incident in self.incidents.agree(recorded, count):
            if incident.place.kind == "silence":
                self.silence.known((incident.place.site, incident.place.name), incident.began_at)

    def _judged(
        self,
        levels: list[LevelChanged],
        silences: list[SilenceChanged],
        transitions: list[Transition],
        shifts: Sequence[Shift] = (),
        warned: Sequence[Warned] = (),
    ) -> Judged:
        for silence in silences:
            transitions += self.incidents.silence_changed(silence)
        for change in levels:
            signal = self._catalogue.signals[change.signal]
            limit = self.levels.limits[int(self.levels.limit_of[change.signal])]
            transitions += self.incidents.level_changed(
                change, signal, limit, self._reason(signal.series_id, change.at)
            )
        warned = [*warned, *self.early.flapping.step(levels)]
        return Judged(levels, silences, transitions, list(shifts), warned)

    def _reason(self, series_id: int, at: int) -> str | None:
        """Return what the check said of this very measurement."""
        said_at, words = self.reasons.get(series_id, (0, ""))
        return words if said_at == at else None

    def _heard(self, columns: Columns, arrived_at: int, sent_at: int) -> list[SilenceChanged]:
        nodes = np.unique(self._node_of[columns.series])
        newest = columns.measured_at.max(initial=0)
        last = self._measured_at[nodes]
        # A last measurement from the sender's own future was stamped by a clock that has been put right since.
        self._measured_at[nodes] = np.where(last > sent_at, newest, np.maximum(last, newest))
        for series_id in columns.series[self._heartbeat[columns.series]].tolist():
            series = self._catalogue.series[series_id]
            self.silence.watch((series.site, series.node), arrived_at)
        return self.silence.heard([self._node_names[n] for n in nodes.tolist()], arrived_at)

    def _expire(self, now: int) -> list[LevelChanged]:
        """Make unknown what a node has stopped measuring, while it goes on measuring other things."""
        if not self.levels.known:
            return []
        newest = self._measured_at[self._node_of[self._series_of]]
        return self.levels.expire(self.levels.stale(newest, self._stale), now)

    def _learn(self) -> None:
        """Take in series and signals that the catalogue has numbered since the last step."""
        catalogue, known = self._catalogue, self.levels.known
        if len(catalogue.signals) > known:
            new = catalogue.signals[known:]
            self.levels.extend(new)
            self.early.extend(new)
            self._series_of = np.concatenate([self._series_of, [s.series_id for s in new]])
        if len(catalogue.series) > len(self._node_of):
            more = [self._node_number((s.site, s.node)) for s in catalogue.series[len(self._node_of) :]]
            beats = [s.check == HEARTBEAT for s in catalogue.series[len(self._node_of) :]]
            self._heartbeat = np.concatenate([self._heartbeat, beats])
            self._node_of = np.concatenate([self._node_of, np.array(more, dtype=np.int64)])
            grown = len(self._node_names) - len(self._measured_at)
            self._measured_at = np.concatenate([self._measured_at, np.zeros(grown, dtype=np.int64)])

    def _node_number(self, node: Node) -> int:
        number = self._nodes.setdefault(node, len(self._nodes))
        if number == len(self._node_names):
            self._node_names.append(node)
        return number

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state for a checkpoint: columns by name, and the rest as plain data."""
        early, watched = self.early.save()
        plain = {
            "silence": self.silence.save(),
            "incidents": self.incidents.save(),
            "expired_at": self._expired_at,
            **watched,
        }
        return {**self.levels.save(), **early, "node_measured_at": self._measured_at}, plain

    def load(self, columns: dict[str, Any], plain: dict[str, Any]) -> None:
        """Take back what `save` returned; the catalogue must be restored already."""
        self._learn()
        measured = columns["node_measured_at"]
        self._measured_at[: len(measured)] = measured
        self.levels.load(columns)
        self.early.load(columns, plain)
        self.silence.load(plain["silence"])
        self.incidents.load(plain["incidents"])
        self._expired_at = plain["expired_at"]
