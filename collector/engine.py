"""The judge: detectors and incidents put together as one step over journal entries. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from collector import orders
from collector.cases import NEVER, Cases
from collector.detect.early import EarlyWarning
from collector.detect.levels import LevelChanged, Levels
from collector.detect.lived import Lived
from collector.detect.silence import Silence, SilenceChanged
from collector.detect.witness import Witnesses
from collector.incidents import Incidents
from collector.maintenance import Maintenance
from collector.places import Places
from collector.sites import SiteTroubles
from collector.topology import Topology
from collector.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Catalogue
    from collector.columns import Columns
    from collector.config import Config
    from collector.detect.shifts import Shift
    from collector.detect.silence import Node
    from collector.detect.warned import Warned
    from collector.incident import Incident, Transition
    from collector.orders import Alert, Order

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

    def __iadd__(self, other: Judged) -> Self:
        """Take in what the next step found."""
        self.levels.extend(other.levels)
        self.silences.extend(other.silences)
        self.transitions.extend(other.transitions)
        self.shifts.extend(other.shifts)
        self.warned.extend(other.warned)
        return self


class Engine:
    """All state of judging, and the two steps that move it: `step` for what arrives, `tick` for what does not."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        """Judge by `config`, naming things by `catalogue`."""
        self._catalogue = catalogue
        self._late = int(config.late_seconds * 1e9)
        self._stale = int(config.stale_seconds * 1e9)
        self.topology = Topology.of(config)
        self.places = Places(config.services)
        self.levels = Levels(config.all_limits(), self.places.service)
        self.early = EarlyWarning()
        self.silence = Silence(config.silence_seconds, config.restart_grace_seconds)
        self.witnesses = Witnesses(config, self.topology)
        self.troubles = Troubles(self.places)
        rules = config.incidents
        self.incidents = Incidents(reopen_seconds=rules.reopen_seconds, serious_sites=rules.serious_sites)
        self.maintenance = Maintenance(config.maintenance, self.topology)
        self.cases = Cases(
            config,
            self.topology,
            self.troubles,
            self.incidents,
            silence=self.silence,
            witnesses=self.witnesses,
            maintenance=self.maintenance,
            places=self.places,
            still_ill=self._still_ill,
        )
        self.sites = SiteTroubles(self.topology, self.troubles, self.silence, self.witnesses)
        self.lived = Lived()
        self.reasons: dict[int, tuple[int, str]] = {}
        self._series_of: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by signal
        self._node_of: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by series
        self._heartbeat: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # by series
        self._nodes: dict[Node, int] = {}
        self._node_names: list[Node] = []
        self._measured_at = np.zeros(0, dtype=np.int64)  # by node: its newest measurement
        self._unheard_until = np.zeros(0, dtype=np.int64)  # by node: until when nobody could hear it, by its own clock
        self._expires_at = NEVER
        self._passed_until = 0

    def step(self, columns: Columns, *, arrived_at: int, sent_at: int | None = None) -> Judged:
        """Take in one entry. Instants are nanoseconds.

        Late points (measured long before they were sent, by the sender's own clock; by ours where it tells none), and
        those of a time when their node could not be heard, are history: they are stored, and judge nothing. So a
        backlog never rings, and a wrong clock never silences.
        """
        self._learn()
        levels: list[LevelChanged] = []
        shifts: list[Shift] = []
        warned: list[Warned] = []
        sent_at = arrived_at if sent_at is None else sent_at
        silences = self._heard(columns, arrived_at, sent_at)
        signals, at, values = columns.signals, columns.measured_at, columns.values
        timely = self._timely(columns, sent_at)
        for series_id, said_at, name, text in columns.texts:
            if said_at > sent_at - self._late and name in ("reason", "error", "notes"):
                self.reasons[series_id] = (said_at, text)
        if not timely.all():
            signals, at, values = signals[timely], at[timely], values[timely]
        news = self.witnesses.step(signals, at, values, arrived_at - sent_at)
        if len(signals):
            known_at = np.broadcast_to(np.int64(arrived_at), at.shape)
            levels = self.levels.step(signals, at, values, known_at, sent_at)
            shifts, warned = self.early.step(signals, at, values, known_at, sent_at, self.levels.level)
        self.sites.witnessed(news, arrived_at)
        corrected = self._lived(columns, silences, arrived_at, sent_at)
        every = max(self._stale // 10, 1)
        self._expires_at = min(self._expires_at, arrived_at - arrived_at % every + every)  # at fixed instants
        return self._judged(levels, silences, arrived_at, corrected, shifts=shifts, warned=warned)

    def tick(self, now: int) -> Judged:
        """Let time pass until `now`: silences at their deadlines, verdicts that have gone stale, waits that are over.

        Instant by instant, in order: so judging the journal again after a crash finds the same, however often it looks.
        """
        self._learn()
        judged = Judged([], [], [])
        while (due := self._due()) <= now:
            judged += self._pass(due)
        self._passed_until = max(self._passed_until, now)
        return judged

    def _due(self) -> int:
        """Return when something is due next; what has been due for long is due now, not then."""
        due = min(self.silence.due, self.cases.due, self.sites.due, self._expires_at)
        return max(due, self._passed_until)

    def _pass(self, now: int) -> Judged:
        """Let a single instant pass."""
        self._passed_until = now
        levels: list[LevelChanged] = []
        warned = self.early.flapping.tick(now)
        if now >= self._expires_at:
            self._expires_at = NEVER
            levels = self._expire(now)
            measured_at = self._measured_at[self._node_of[self._series_of]]
            warned += self.early.expire(measured_at, self._stale, self.levels.level, now)
        silences = self.silence.tick(now)
        self.sites.tick(now)
        return self._judged(levels, silences, now, [], warned=warned, look=now >= self.cases.due)

    def order(self, order: Order, now: int) -> Judged:
        """Do what a person has told us to, at `now`."""
        self._learn()
        transitions: list[Transition] = []
        if isinstance(order, orders.Resolve):
            self._resolve(order.incident)
        elif isinstance(order, orders.Maintain):
            self.maintenance.add(order.window)
        elif isinstance(order, orders.Cancel):
            self.maintenance.drop(order.window)
        elif isinstance(order, orders.Serious):
            transitions = self.incidents.call(order.incident, now, serious=order.serious)
        elif isinstance(order, orders.External):
            for alert in order.alerts:
                self._external(alert, now)
        return self._judged([], [], now, transitions, look=not isinstance(order, orders.Look))

    def _external(self, alert: Alert, now: int) -> None:
        """Take in what another system says of a place; the same thing said again is no news."""
        trouble = self.troubles.all.get(alert.place)
        before = None if trouble is None else trouble.evidence.get(alert.key)
        if before is None or before.level != alert.evidence.level:
            at = alert.began_at if alert.evidence.ill and alert.began_at <= now else now
            evidence = msgspec.structs.replace(alert.evidence, at=at)
            self.troubles.spoke(alert.key, alert.place, evidence, began_at=at, known_at=now)

    def _resolve(self, name: str) -> None:
        """Take what an incident is about for over: its nodes are gone, its signals unknown until seen again."""
        incident = next((each for each in self.incidents.open.values() if each.id == name), None)
        for place in [] if incident is None else list(incident.members):
            if place.kind == "silence":
                for node in [n for n in self.silence.nodes_at.get(place.site, []) if place.name in ("", n[1])]:
                    self.silence.forget(node)
            self.troubles.over(place)

    def resume(self, now: int) -> None:
        """Begin again after the collector itself was away; by a clock that may have been put back meanwhile."""
        self._passed_until = now
        self.silence.resume(now)

    def recover(self, now: int) -> None:
        """Watch every node that ever sent a heartbeat, where no checkpoint is left to say so."""
        for series in self._catalogue.series:
            if series.check == HEARTBEAT:
                self.silence.watch((series.site, series.node), now)

    def agree(self, recorded: Sequence[Incident], count: int) -> None:
        """Go on from what the record says is open, once the journal is judged again: see `Incidents.agree`."""
        for incident in self.incidents.agree(recorded, count):
            self.troubles.recall(incident)
            for place in incident.members:
                if place.kind == "silence" and place.name:
                    self.silence.known((place.site, place.name), incident.began_at)
        self.cases.dirty = self.troubles.changed

    def _judged(
        self,
        levels: list[LevelChanged],
        silences: list[SilenceChanged],
        now: int,
        transitions: list[Transition],
        *,
        shifts: Sequence[Shift] = (),
        warned: Sequence[Warned] = (),
        look: bool = False,
    ) -> Judged:
        for change in levels:
            signal = self._catalogue.signals[change.signal]
            limit = self.levels.limits[int(self.levels.limit_of[change.signal])]
            self.troubles.level_changed(change, signal, limit, self._reason(signal.series_id, change.at))
        warned = [*warned, *self.early.flapping.step(levels)]
        for warning in warned:
            self.troubles.warned(warning, self._catalogue.signals[warning.signal])
        self.sites.silences(silences)
        transitions += self.cases.look(now) if look else self.cases.moved(now)
        return Judged(levels, silences, transitions, list(shifts), warned)

    def _still_ill(self, signal: int, since: int) -> bool:
        """Tell whether a signal was measured after an instant, and not well."""
        if not 0 <= signal < self.levels.known or self.levels.measured_at[signal] <= since:
            return False
        limit = self.levels.limits[int(self.levels.limit_of[signal])]
        return limit is not None and limit.judge(float(self.levels.value[signal]), "red") != "green"

    def _lived(
        self, columns: Columns, silences: list[SilenceChanged], arrived_at: int, sent_at: int
    ) -> list[Transition]:
        """Let what nodes tell of a silence that is over set its cause right."""
        self.lived.back(silences, self._nodes)
        if not self.lived:
            return []
        signals = columns.signals
        nodes = self._node_of[self._series_of[signals]]
        ahead = arrived_at - sent_at
        found = self.lived.step(signals, nodes, columns.measured_at, columns.values, ahead=ahead, now=arrived_at)
        return [moved for site, cause in found for moved in self.incidents.explained(site, cause, arrived_at)]

    def _timely(self, columns: Columns, sent_at: int) -> npt.NDArray[np.bool_]:
        """Mark what is no history."""
        timely: npt.NDArray[np.bool_] = columns.measured_at > sent_at - self._late
        if self._unheard_until.any():
            until = self._unheard_until[self._node_of[self._series_of[columns.signals]]]
            timely &= columns.measured_at >= until
        return timely

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
        heard = [self._node_names[n] for n in nodes.tolist()]
        for number, node in zip(nodes.tolist(), heard, strict=True):
            if node in self.silence.silent:
                self._unheard_until[number] = sent_at  # what it measured until now is history
        for series_id in columns.series[self._heartbeat[columns.series]].tolist():
            series = self._catalogue.series[series_id]
            self.silence.watch((series.site, series.node), arrived_at)
        return self.silence.heard(heard, arrived_at)

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
            self.witnesses.extend(new)
            self.lived.extend(new)
            self._series_of = np.concatenate([self._series_of, [s.series_id for s in new]])
        if len(catalogue.series) > len(self._node_of):
            more = [self._node_number((s.site, s.node)) for s in catalogue.series[len(self._node_of) :]]
            beats = [s.check == HEARTBEAT for s in catalogue.series[len(self._node_of) :]]
            self._heartbeat = np.concatenate([self._heartbeat, beats])
            self._node_of = np.concatenate([self._node_of, np.array(more, dtype=np.int64)])
            grown = len(self._node_names) - len(self._measured_at)
            self._measured_at = np.concatenate([self._measured_at, np.zeros(grown, dtype=np.int64)])
            self._unheard_until = np.concatenate([self._unheard_until, np.zeros(grown, dtype=np.int64)])

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
            "troubles": self.troubles.save(),
            "incidents": self.incidents.save(),
            "maintenance": self.maintenance.save(),
            "cases": self.cases.save(),
            "sites": self.sites.save(),
            "lived": self.lived.save(),
            "expires_at": self._expires_at,
            "passed_until": self._passed_until,
            **watched,
        }
        nodes = {"node_measured_at": self._measured_at, "node_unheard_until": self._unheard_until}
        return {**self.levels.save(), **early, **self.witnesses.save(), **nodes}, plain

    def load(self, columns: dict[str, Any], plain: dict[str, Any]) -> None:
        """Take back what `save` returned; the catalogue must be restored already."""
        self._learn()
        for name, column in (("node_measured_at", self._measured_at), ("node_unheard_until", self._unheard_until)):
            column[: len(columns[name])] = columns[name]
        self.levels.load(columns)
        self.early.load(columns, plain)
        self.witnesses.load(columns)
        self.silence.load(plain["silence"])
        self.troubles.load(plain["troubles"])
        self.incidents.load(plain["incidents"])
        self.maintenance.load(plain["maintenance"])
        self.cases.load(plain["cases"])
        self.sites.load(plain["sites"])
        self.lived.load(plain.get("lived", []))
        self._expires_at, self._passed_until = plain["expires_at"], plain.get("passed_until", 0)
