"""Silence: a node that sent heartbeats and does so no more. Judged by the collector's clock of arrival alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def __init__(self, timeout_seconds: float) -> None:
        """Call a node silent `timeout_seconds` after its last sign of life."""
        self.timeout = int(timeout_seconds * 1e9)
        self.heard_at: dict[Node, int] = {}
        self.silent: set[Node] = set()
        self._grace_from = 0

    def watch(self, node: Node, now: int) -> None:
        """Begin to watch a node: it has sent a heartbeat."""
        self.heard_at.setdefault(node, now)

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
                changes.append(SilenceChanged(node, silent=False, heard_at=last, known_at=now))
        return changes

    def tick(self, now: int) -> list[SilenceChanged]:
        """Return who has passed its deadline by `now`, each stamped with that deadline, in the order of deadlines.

        So a replay that looks once where the night looked often finds the same silences in the same order.
        """
        changes = []
        for node, last in self.heard_at.items():
            deadline = max(last, self._grace_from) + self.timeout
            if deadline <= now and node not in self.silent:
                self.silent.add(node)
                changes.append(SilenceChanged(node, silent=True, heard_at=last, known_at=deadline))
        return sorted(changes, key=_by_deadline)

    def resume(self, now: int) -> None:
        """Begin again after the collector itself was away: nobody could be heard meanwhile.

        Nor can anybody have been heard after `now`: where the clock was put back meanwhile, waiting for it to catch up
        would hide every silence until then.
        """
        self._grace_from = now
        self.heard_at = {node: min(at, now) for node, at in self.heard_at.items()}

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {
            "heard_at": [[*node, at] for node, at in self.heard_at.items()],
            "silent": sorted(self.silent),
            "grace_from": self._grace_from,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned."""
        self.heard_at = {(site, node): at for site, node, at in saved["heard_at"]}
        self.silent = {(site, node) for site, node in saved["silent"]}
        self._grace_from = saved["grace_from"]


def _by_deadline(change: SilenceChanged) -> tuple[int, Node]:
    return change.known_at, change.node
