"""Witnesses: what others say of a site that no longer speaks for itself.

* The reflector counts each site's test packets (`stamp_sender`): none for long, or some just now.
* The data centre's own nodes ask each gateway for an echo (`icmp_sweep`, `icmp_echo`): it answers, or not.
* The site's UPS said that it runs on battery (`power`, `snmp`) before everything went quiet.
* The same nodes ask the data centre's own router: without it, nobody could be heard.

What a witness says is dated by when it saw it, on the collector's clock: a report that comes late is no news of now.
Nearly all values are "as before" and cost a few operations on columns; only a change is looked at.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.silence import Doubt
from collector.topology import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal
    from collector.config import Config
    from collector.incident import Cause
    from collector.topology import Topology

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

QUIET, HEARD, REACH, BATTERY, UPLINK = range(5)
_LOST = 0.99
_SECOND = 1_000_000_000
_BATTERY_BEFORE = 1800 * _SECOND
RETURN_SECONDS = 20
"""An agent whose line is back sends again within so long: its pauses between attempts are shorter."""
_AFTER = _SECOND
"""A sign counts as "after the fault" from so long after the last sign of life on: what was on its way may arrive."""


class Witnesses:
    """What each witness last said. State is a few columns, a row a signal that bears witness."""

    def __init__(self, config: Config, topology: Topology) -> None:
        """Know whose address is whose by `topology`, and our own uplink by `config`."""
        self._own = config.own
        self._rules = config.silence
        self._quiet_seconds = config.silence.test_packets_seconds
        self._topology = topology
        self._slots: Ints = np.zeros(0, dtype=np.int64)  # by signal: its row, or -1
        self._of: defaultdict[tuple[str, int], list[int]] = defaultdict(list)  # rows by site and role
        self._of_line: defaultdict[Line, list[int]] = defaultdict(list)
        self._site: list[str] = []  # by row
        self._role: Ints = np.zeros(0, dtype=np.int64)
        self.signal: list[int] = []
        self.at: Ints = np.zeros(0, dtype=np.int64)  # when it was last said
        self.bad: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # quiet, lost, on battery
        self.since: Ints = np.zeros(0, dtype=np.int64)  # when it last changed
        self.seen: Ints = np.zeros(0, dtype=np.int64)  # when it last saw the site well

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        rows = []
        for signal in signals:
            role, line = self._role_of(signal)
            rows.append(len(self._site) if role is not None else -1)
            if role is None:
                continue
            row = len(self._site)
            self._site.append(line.site)
            self._of[line.site, role].append(row)
            if role == REACH:
                self._of_line[line].append(row)
            self.signal.append(signal.id)
            self._role = np.append(self._role, role)
            self.at, self.since, self.seen = (np.append(each, 0) for each in (self.at, self.since, self.seen))
            self.bad = np.append(self.bad, False)
        self._slots = np.concatenate([self._slots, np.array(rows, dtype=np.int64)])

    def step(self, signals: Ints, measured_at: Ints, values: Floats, ahead: int) -> set[str]:
        """Take values in, measured by a clock that is `ahead` nanoseconds behind ours; return sites with news."""
        rows = self._slots[signals]
        those = rows >= 0
        if not those.any():
            return set()
        order = np.argsort(measured_at[those], kind="stable")  # of one row's values the newest counts
        rows, at, values = rows[those][order], measured_at[those][order] + ahead, values[those][order]
        newer = at > self.at[rows]
        rows, at, values = rows[newer], at[newer], values[newer]
        role = self._role[rows]
        bad = np.where(
            role == QUIET, values >= self._quiet_seconds, np.where(role == HEARD, values <= 0, values >= _LOST)
        )
        self.at[rows] = at
        changed = rows[bad != self.bad[rows]]
        was_quiet = (role == QUIET) & bad
        self.since[rows] = np.where(bad != self.bad[rows], at, self.since[rows])
        self.since[rows[was_quiet]] = (at - values * _SECOND)[was_quiet].astype(np.int64)
        self.bad[rows] = bad
        well = ~bad & (role != QUIET) & (role != BATTERY)
        self.seen[rows[well]] = at[well]
        return {self._site[row] for row in changed.tolist()}

    def doubt(self, site: str, now: int) -> Doubt | None:
        """Return what the witnesses say against a site; None where none of them does, or one has just seen it."""
        quiet = [row for row in self._of[site, QUIET] if self.bad[row]]
        lost, asked = [], self._of[site, REACH]
        if asked and all(self.bad[row] for row in asked):
            lost = asked
        rules = self._rules
        if quiet and lost:
            seen = max(int(self.since[row]) for row in quiet)
            return Doubt(int(rules.two_witnesses_seconds * _SECOND), seen, now, certain=True)
        if quiet:
            return Doubt(
                int(rules.one_witness_seconds * _SECOND), max(int(self.since[r]) for r in quiet), now, certain=False
            )
        if lost and not self._of[site, QUIET]:
            seen = max(int(self.seen[row]) for row in lost)
            return Doubt(int(rules.one_witness_seconds * _SECOND), seen, now, certain=False)
        return None

    def seen_at(self, site: str) -> int:
        """Return when anybody else last saw a site alive; 0 for never."""
        rows = self._of[site, HEARD] + self._of[site, REACH]
        return max((int(self.seen[row]) for row in rows), default=0)

    def has_witness(self, site: str) -> bool:
        """Tell whether anybody else looks at a site."""
        return bool(self._of.get((site, QUIET)) or self._of.get((site, REACH)))

    def asked_since(self, site: str, fault_at: int) -> bool:
        """Tell whether every witness has spoken of a site since it failed."""
        rows = self._of[site, QUIET] + self._of[site, REACH]
        return all(int(self.at[row]) > fault_at + _AFTER for row in rows)

    def why(self, site: str, fault_at: int, now: int) -> Cause:
        """Return the cause of a site's silence since `fault_at`, as far as witnesses know it by `now`.

        Who is seen again after all was lost is coming back: only if that takes long is it another fault.
        """
        after = fault_at + _AFTER
        reach = [row for row in self._of[site, REACH] if self.at[row] > after]
        if any(self.seen[row] > after + _AFTER and self._lives(row, after, now) for row in self._of[site, HEARD]):
            return "delivery"
        if any(self._lives(row, after, now) for row in reach):
            return "agent"
        battery = [row for row in self._of[site, BATTERY] if self.bad[row]]
        if any(0 <= fault_at - int(self.at[row]) < _BATTERY_BEFORE for row in battery):
            return "power"
        return "line" if reach else ""

    def _lives(self, row: int, after: int, now: int) -> bool:
        """Tell whether a witness sees a site, and did so all the time or has done for long."""
        return not self.bad[row] and (
            self.since[row] <= after or now - int(self.since[row]) >= RETURN_SECONDS * _SECOND
        )

    def coming_back(self, site: str) -> int | None:
        """Return since when somebody sees a site again; None where nobody does."""
        rows = [row for row in self._of[site, HEARD] + self._of[site, REACH] if not self.bad[row] and self.at[row]]
        return min((int(self.since[row]) for row in rows), default=None)

    def lost_line(self, line: Line) -> int | None:
        """Return since when a line's address does not answer; None where it does, or where nobody asks."""
        rows = self._of_line.get(line)
        if not rows or not all(self.bad[row] for row in rows):
            return None
        return max(int(self.since[row]) for row in rows)

    def line_seen_at(self, line: Line) -> int:
        """Return when a line's address last answered; 0 for never, or where nobody asks."""
        return max((int(self.seen[row]) for row in self._of_line.get(line, ())), default=0)

    def test_packets_since(self, site: str) -> int | None:
        """Return since when the reflector has heard none of a site's packets; None while it does, or never did."""
        rows = self._of[site, QUIET]
        if not rows or not all(self.bad[row] for row in rows) or not any(self.seen[r] for r in self._of[site, HEARD]):
            return None
        return max(int(self.since[row]) for row in rows)

    def uplink_lost(self) -> int | None:
        """Return since when our own router does not answer; None where it does, or where nobody asks."""
        rows = self._of[self._own.site, UPLINK]
        if not rows or not all(self.bad[row] for row in rows):
            return None
        return max(int(self.since[row]) for row in rows)

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        return {
            "witness_signal": np.array(self.signal, dtype=np.int64),
            "witness_at": self.at,
            "witness_bad": self.bad,
            "witness_since": self.since,
            "witness_seen": self.seen,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; the signals must be known already. Another topology: what still fits."""
        if "witness_signal" not in saved:
            return
        rows = self._slots[saved["witness_signal"]]
        kept = rows >= 0
        for name in ("at", "bad", "since", "seen"):
            getattr(self, name)[rows[kept]] = saved[f"witness_{name}"][kept]

    def _role_of(self, signal: Signal) -> tuple[int | None, Line]:
        """Return what a signal bears witness of, and of which line; None for nearly all signals."""
        series, metric = signal.series, signal.metric
        if metric == "on_battery" and series.check in ("power", "snmp"):
            return BATTERY, Line(series.site)
        if series.check == "stamp_sender" and metric in ("silent_seconds", "packets_received"):
            return (QUIET if metric == "silent_seconds" else HEARD), Line(series.target)
        if series.site != self._own.site or not metric.startswith("loss_ratio"):
            return None, Line("")
        if series.check == "icmp_echo":
            name = series.target
        elif series.check == "icmp_sweep":
            name = metric.removeprefix("loss_ratio").strip("[]")
        else:
            return None, Line("")
        if name in self._own.uplink:
            return UPLINK, Line(series.site)
        line = self._topology.addresses.get(name)
        if line is None:
            line = Line(name) if name in self._topology.sites else None
        return (REACH, line) if line is not None else (None, Line(""))
