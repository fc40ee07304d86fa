"""Silence: a node that sent heartbeats and does so no more. Judged by the collector's clock of arrival alone.

A node whose site others call into doubt (the reflector hears no test packet, its gateway does not answer) is silent
sooner. Doubt is no verdict: whoever is heard after it was cast is not silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEVER = 1 << 63
_GRID = 250_000_000
"""Deadlines fall on quarters of a second, so that a thousand nodes lost at once are a few steps and not a thousand."""
_ON_ITS_WAY = 1_000_000_000
"""So long after the last test packet something may still come that was sent before."""

Node = tuple[str, str]
"""A site and a node at it."""


class SilenceChanged(NamedTuple):
    """A node fell silent or was heard again. Instants are nanoseconds of arrival; `heard_at` is the last before it."""

    node: Node
    silent: bool
    heard_at: int
    known_at: int


class Doubt(NamedTuple):
    """Others no longer see a site, last seen at `seen_at`: `patience` nanoseconds of its own silence are enough.

    `certain` where two agree: then it holds even of a time when the collector was away and could hear nobody.
    """

    patience: int
    seen_at: int
    cast_at: int
    certain: bool


class Silence:
    """Who was last heard when. A silence is dated from its deadline, not from when somebody looked."""

    def __init__(self, timeout_seconds: float, grace_seconds: float = 0) -> None:
        """Call a node silent `timeout_seconds` after its last sign of life; `grace_seconds` later after a restart."""
        self.timeout = int(timeout_seconds * 1e9)
        self.heard_at: dict[Node, int] = {}
        self.silent: set[Node] = set()
        self.nodes_at: dict[str, list[Node]] = {}
        self._doubts: dict[str, Doubt] = {}
        self._grace = self.timeout + int(grace_seconds * 1e9)
        self.resumed_at = 0
        """When the collector last began again, having been away."""
        self.due = _NEVER
        """No deadline comes before it: a tick before then costs nothing."""

    def watch(self, node: Node, now: int) -> None:
        """Begin to watch a node: it has sent a heartbeat."""
        if node not in self.heard_at:
            self._watch(node, now)
            self.due = min(self.due, now + self.timeout)

    def heard(self, nodes: Iterable[Node], now: int) -> list[SilenceChanged]:
        """Take in that something arrived from `nodes`, of those that are watched."""
        changes = []
        for node in nodes:
            last = self.heard_at.get(node)
            if last is None:
                continue
            self.heard_at[node] = max(now, last)
            doubt = self._doubts.get(node[0])
            if doubt is not None and now > doubt.seen_at + _ON_ITS_WAY:
                del self._doubts[node[0]]
            if node in self.silent:
                self.silent.discard(node)
                self.due = min(self.due, now + self.timeout)
                changes.append(SilenceChanged(node, silent=False, heard_at=last, known_at=now))
        return changes

    def doubt(self, site: str, doubt: Doubt | None) -> None:
        """Take what others say of a site; None where they see it."""
        if doubt is None:
            self._doubts.pop(site, None)
            return
        heard_at = self._site_heard_at(site)
        if heard_at is None or heard_at > doubt.seen_at + _ON_ITS_WAY:
            return
        self._doubts[site] = doubt
        self.due = min(self.due, self._hasty(site, doubt))

    def tick(self, now: int) -> list[SilenceChanged]:
        """Return who has passed its deadline by `now`, each stamped with that deadline, in the order of deadlines.

        So a replay that looks once where the night looked often finds the same silences in the same order.
        """
        if now < self.due:
            return []
        changes, earliest = [], _NEVER
        for node, last in self.heard_at.items():
            if node in self.silent:
                continue
            deadline = self._deadline(node, last)
            if deadline <= now:
                self.silent.add(node)
                changes.append(SilenceChanged(node, silent=True, heard_at=last, known_at=deadline))
            else:
                earliest = min(earliest, deadline)
        self.due = earliest
        return sorted(changes, key=_by_deadline)

    def resume(self, now: int) -> None:
        """Begin again after the collector itself was away: nobody could be heard meanwhile.

        Agents that found it gone come back only after pauses of their own: until a node was heard, it has the grace.

        Nor can anybody have been heard after `now`: where the clock was put back meanwhile, waiting for it to catch up
        would hide every silence until then.
        """
        self.resumed_at = now
        self.due = 0
        self.heard_at = {node: min(at, now) for node, at in self.heard_at.items()}

    def known(self, node: Node, heard_at: int) -> None:
        """Take in that a node was found silent before, last heard at `heard_at`."""
        if node not in self.heard_at:
            self._watch(node, heard_at)
        self.silent.add(node)

    def forget(self, node: Node) -> None:
        """Watch a node no more: it was taken away for good. Heard again, it is watched again."""
        if self.heard_at.pop(node, None) is not None:
            self.nodes_at[node[0]].remove(node)
        self.silent.discard(node)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {
            "heard_at": [[*node, at] for node, at in self.heard_at.items()],
            "silent": sorted(self.silent),
            "doubts": [[site, *doubt] for site, doubt in self._doubts.items()],
            "resumed_at": self.resumed_at,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned."""
        for site, node, at in saved["heard_at"]:
            self._watch((site, node), at)
        self.silent = {(site, node) for site, node in saved["silent"]}
        self._doubts = {site: Doubt(*doubt) for site, *doubt in saved.get("doubts", [])}
        self.resumed_at = saved["resumed_at"]
        self.due = 0

    def _watch(self, node: Node, at: int) -> None:
        self.heard_at[node] = at
        self.nodes_at.setdefault(node[0], []).append(node)

    def _site_heard_at(self, site: str) -> int | None:
        return max((self.heard_at[node] for node in self.nodes_at.get(site, ())), default=None)

    def _deadline(self, node: Node, last: int) -> int:
        """Return when a node last heard at `last` becomes silent."""
        usual = last + self.timeout if last > self.resumed_at else max(last, self.resumed_at) + self._grace
        doubt = self._doubts.get(node[0])
        return _on_grid(usual if doubt is None else min(usual, self._hasty(node[0], doubt)))

    def _hasty(self, site: str, doubt: Doubt) -> int:
        heard_at = self._site_heard_at(site) or 0
        if heard_at <= self.resumed_at and not doubt.certain:
            heard_at = self.resumed_at  # nobody could be heard before; whoever was seen since is in no doubt
        return max(heard_at + doubt.patience, doubt.cast_at)


def _on_grid(at: int) -> int:
    return -(-at // _GRID) * _GRID


def _by_deadline(change: SilenceChanged) -> tuple[int, Node]:
    return change.known_at, change.node
