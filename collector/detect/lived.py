"""What a node lived through while nobody heard it, as it tells afterwards: its spool, and since when it has been up.

* It went on measuring, and its test packets were lost: the line was cut. They were answered: only delivery failed.
* It measured nothing, and its machine has been up for less long than the silence: it was off. Only its agent has: the
  agent had stopped.

That corrects the cause of an incident, open or over; it rings nobody. Pure, and on columns where nobody was silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal
    from collector.detect.silence import Node, SilenceChanged
    from collector.incident import Cause

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_SECOND = 1_000_000_000
_OTHER, _TESTS, _AGENT_UP, _MACHINE_UP = range(4)
_ROLES = {
    ("stamp", "loss_ratio"): _TESTS,
    ("agent", "uptime_seconds"): _AGENT_UP,
    ("host_health", "uptime_seconds"): _MACHINE_UP,
}
_LOST = 0.99
_ON_ITS_WAY = 3 * _SECOND
"""So long after the last sign of life, and before the next, something may have been measured on the way."""
_FIRST = 60 * _SECOND
"""What is measured in the first minute of a silence says why it began."""
_SPOOL = 30 * _SECOND
"""So long after it is back a node has sent the oldest of what it kept."""
_FORGOTTEN = 600 * _SECOND


class _Gap(msgspec.Struct):
    """A silence that is over: from the last sign of life before it to the first one after it."""

    began_at: int
    ended_at: int
    lost: int = 0
    answered: int = 0
    agent_up_at: int = 0
    machine_up_at: int = 0

    def verdict(self, now: int) -> Cause | None:
        """Return why it was silent, once that is known by `now`."""
        if self.lost > self.answered:
            return "line"
        if now < self.ended_at + _SPOOL:
            return None
        if self.answered:
            return "delivery"
        restarted = self.agent_up_at > self.began_at
        if not restarted or not self.machine_up_at:
            return None
        return "off" if self.machine_up_at > self.began_at else "agent"


class Lived:
    """The silences that ended lately, by node, and what their nodes have told of them since."""

    def __init__(self) -> None:
        """Begin with none."""
        self._gaps: dict[int, tuple[str, _Gap]] = {}  # by the node's number
        self._role: Ints = np.zeros(0, dtype=np.int64)  # by signal

    def __bool__(self) -> bool:
        """Tell whether any silence waits to be explained."""
        return bool(self._gaps)

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        roles = [_ROLES.get((signal.series.check, signal.metric), _OTHER) for signal in signals]
        self._role = np.concatenate([self._role, np.array(roles, dtype=np.int64)])

    def back(self, changes: Iterable[SilenceChanged], number_of: dict[Node, int]) -> None:
        """Take in nodes that were heard again, each with its number."""
        for change in changes:
            if not change.silent:
                gap = _Gap(began_at=change.heard_at, ended_at=change.known_at)
                self._gaps[number_of[change.node]] = change.node[0], gap

    def step(
        self, signals: Ints, nodes: Ints, measured_at: Ints, values: Floats, *, ahead: int, now: int
    ) -> list[tuple[str, Cause]]:
        """Take values in, each with its node's number; return sites whose silence is now explained, and by what.

        `ahead` is by how many nanoseconds the sender's clock is behind ours.
        """
        found: list[tuple[str, Cause]] = []
        for number in np.unique(nodes).tolist():
            if number not in self._gaps:
                continue
            site, gap = self._gaps[number]
            mine = nodes == number
            _tell(gap, self._role[signals[mine]], measured_at[mine] + ahead, values[mine])
            verdict = gap.verdict(now)
            if verdict is not None:
                found.append((site, verdict))
            if verdict is not None or now > gap.ended_at + _FORGOTTEN:
                del self._gaps[number]
        return found

    def save(self) -> list[Any]:
        """Return the state as plain data, for a checkpoint."""
        return [[number, site, msgspec.to_builtins(gap)] for number, (site, gap) in self._gaps.items()]

    def load(self, saved: list[Any]) -> None:
        """Take back what `save` returned."""
        self._gaps = {number: (site, msgspec.convert(gap, _Gap)) for number, site, gap in saved}


def _tell(gap: _Gap, role: Ints, at: Ints, values: Floats) -> None:
    """Note what values say of a gap."""
    until = min(gap.ended_at - _ON_ITS_WAY, gap.began_at + _FIRST)
    within = (role == _TESTS) & (at > gap.began_at + _ON_ITS_WAY) & (at < until)
    gap.lost += int((values[within] >= _LOST).sum())
    gap.answered += int((values[within] < _LOST).sum())
    after = at >= gap.ended_at - _ON_ITS_WAY
    for name, which in (("agent_up_at", _AGENT_UP), ("machine_up_at", _MACHINE_UP)):
        chosen = after & (role == which)
        if chosen.any():
            setattr(gap, name, int(at[chosen][-1] - values[chosen][-1] * _SECOND))
