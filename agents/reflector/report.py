"""What the reflector tells the collector: of each sender what it heard, and of itself what it did. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.reflector.sessions import SECOND
from checks.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agents.reflector.sessions import Key, Session

METRICS = {
    "packets_received": "test packets that came since the last report, count",
    "packets_missing": "packets that their numbers say were sent and that did not come, since the last report, count",
    "packets_duplicate": "packets that came again, count",
    "packets_reordered": "packets that came after a later one, count",
    "loss_forward_ratio": "share of the packets that did not come, 0 to 1; absent when none is known to have been sent",
    "silent_seconds": "time since the last packet, or since this reflector started, seconds",
    "sessions": "sessions of this sender that are remembered, count",
}
"""The metrics of a point `stamp_sender`: one a sender and report. Its target is the sender's site, or its address."""

MOST_STRANGERS, OTHERS = 256, "others"


@dataclass(slots=True)
class _Sum:
    received: int = 0
    missing: int = 0
    duplicate: int = 0
    reordered: int = 0
    last_seen_at: int = 0
    sessions: int = 0


class Reporter:
    """Turns what was counted since the last report into points."""

    def __init__(self, site: str, node: str, started_at: int) -> None:
        """Report as this node of this site; a known sender never heard is silent since `started_at` (monotonic ns)."""
        self._site, self._node, self._started_at = site, node, started_at

    def senders(
        self, sessions: Iterable[tuple[Key, Session]], sites: Mapping[int, str], *, now: int, here: int
    ) -> Iterator[Result]:
        """Return a point for each sender that is known or was heard, and begin to count anew.

        `now` (wall clock) dates the points, `here` (monotonic) says how long a sender is silent. Of senders that nobody
        named only `MOST_STRANGERS` get a point of their own; the rest share `OTHERS`, or whoever makes up addresses
        would fill the collector with them.
        """
        sums: defaultdict[str, _Sum] = defaultdict(_Sum, {site: _Sum() for site in sites.values()})
        most = len(sums) + MOST_STRANGERS
        for key, session in sessions:
            target = sites.get(key.ssid, key.host)
            _add(sums[target if target in sums or len(sums) < most else OTHERS], session)
        for target, each in sums.items():
            metrics = {
                "packets_received": float(each.received),
                "packets_missing": float(each.missing),
                "packets_duplicate": float(each.duplicate),
                "packets_reordered": float(each.reordered),
                "silent_seconds": max(0, here - (each.last_seen_at or self._started_at)) / SECOND,
                "sessions": float(each.sessions),
            }
            arrived = each.received - each.duplicate
            if arrived + each.missing > 0:
                metrics["loss_forward_ratio"] = each.missing / (arrived + each.missing)
            yield self._point("stamp_sender", target, metrics, now)

    def itself(self, counts: Mapping[str, int], now: int) -> Result:
        """Return the point `reflector`: how many packets it took, answered and refused, since it started."""
        return self._point("reflector", "", {f"{name}_total": float(value) for name, value in counts.items()}, now)

    def _point(self, check: str, target: str, metrics: dict[str, float], now: int) -> Result:
        return Result(
            site=self._site,
            node=self._node,
            check=check,
            target=target,
            measured_at=now,
            duration_seconds=0.0,
            metrics=metrics,
        )


def _add(total: _Sum, session: Session) -> None:
    """Take a session's count and leave it empty. A packet that comes after all may make up for an earlier report."""
    count = session.count
    total.received += count.received
    total.missing += max(0, count.missing)
    total.duplicate += count.duplicate
    total.reordered += count.reordered
    total.last_seen_at = max(total.last_seen_at, session.last_seen_at)
    total.sessions += 1
    count.received = count.duplicate = count.reordered = 0
    count.missing = min(0, count.missing)
