"""Silence: a node that sent heartbeats and does so no more. Judged by the collector's clock of arrival alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEVER = 1 << 63

Node = tuple[str, str]
"""A site and a node at it."""


class SilenceChanged(NamedTuple):
    """A node fell silent or was heard again. Instants are nanoseconds of arrival; `heard_at` is the last before it."""

    node: Node
    silent: bool
    heard_at: int
    known_at: int


class Silence:
    """Who was last heard when. A silence is dated from its deadline, not from when somebody looked."""

    def __init__(self, timeout_seconds: float, grace_seconds: float = 0) -> None:
        """Call a node silent `timeout_seconds` after its last sign of life; `grace_seconds` later after a restart."""
        self.timeout = int(timeout_seconds * 1e9)
        self.heard_at: dict[Node, int] = {}
        self.silent: set[Node] = set()
        self._grace = self.timeout + int(grace_seconds * 1e9)
        self._resumed_at = 0
        self._earliest = _NEVER  # no deadline comes before it: a tick before then costs nothing

    def watch(self, node: Node, now: int) -> None:
        """Begin to watch a node: it has sent a heartbeat."""
        if node not in self.heard_at:
            self.heard_at[node] = now
            self._earliest = min(self._earliest, now + self.timeout)

    def heard(self, nodes: Iterable[Node], now: int) -> list[SilenceChanged]:
        """Take in that something arrived from `nodes`, of those that are watched."""
        changes = []
        for node in nodes:
            last = self.heard_at.get(node)
            if last is None:
                continue
            self.heard_at[node] = max(now, last)
            if node in self.silent:
                self.silent.discard(node)
                self._earliest = min(self._earliest, now + self.timeout)
                changes.append(SilenceChanged(node, silent=False, heard_at=last, known_at=now))
        return changes

    def tick(self, now: int) -> list[SilenceChanged]:
        """Return who has passed its deadline by `now`, each stamped with that deadline, in the order of deadlines.

        So a replay that looks once where the night looked often finds the same silences in the same order.
        """
        if now < self._earliest:
            return []
        changes, earliest = [], _NEVER
        for node, last in self.heard_at.items():
            if node in self.silent:
                continue
            deadline = self._deadline(last)
            if deadline <= now:
                self.silent.add(node)
                changes.append(SilenceChanged(node, silent=True, heard_at=last, known_at=deadline))
            else:
                earliest = min(earliest, deadline)
        self._earliest = earliest
        return sorted(changes, key=_by_deadline)

    def resume(self, now: int) -> None:
        """Begin again after the collector itself was away: nobody could be heard meanwhile.

        Agents that found it gone come back only after pauses of their own: until a node was heard, it has the grace.

        Nor can anybody have been heard after `now`: where the clock was put back meanwhile, waiting for it to catch up
        would hide every silence until then.
        """
        self._resumed_at = now
        self._earliest = 0
        self.heard_at = {node: min(at, now) for node, at in self.heard_at.items()}

    def known(self, node: Node, heard_at: int) -> None:
        """Take in that a node was found silent before, last heard at `heard_at`."""
        self.heard_at.setdefault(node, heard_at)
        self.silent.add(node)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {
            "heard_at": [[*node, at] for node, at in self.heard_at.items()],
            "silent": sorted(self.silent),
            "resumed_at": self._resumed_at,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned."""
        self.heard_at = {(site, node): at for site, node, at in saved["heard_at"]}
        self.silent = {(site, node) for site, node in saved["silent"]}
        self._resumed_at = saved["resumed_at"]
        self._earliest = 0

    def _deadline(self, last: int) -> int:
        """Return when a node last heard at `last` becomes silent."""
        return last + self.timeout if last > self._resumed_at else max(last, self._resumed_at) + self._grace


def _by_deadline(change: SilenceChanged) -> tuple[int, Node]:
    return change.known_at, change.node
