"""What is ill at a site as a whole, from its nodes' silence and from what witnesses say of its lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.detect.witness import RETURN_SECONDS
from collector.incident import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.detect.silence import Silence, SilenceChanged
    from collector.detect.witness import Witnesses
    from collector.topology import Topology
    from collector.troubles import Troubles

_SECOND = 1_000_000_000
_NEVER = 1 << 63
_LINE_SECONDS, _PACKETS_SECONDS = 5, 30
"""A second line that does not answer, and test packets that are not let through while all else is, for so long."""


class SiteTroubles:
    """Turns news of nodes and lines into troubles; what needs a while to be sure of waits for its time."""

    def __init__(self, topology: Topology, troubles: Troubles, silence: Silence, witnesses: Witnesses) -> None:
        """Tell `troubles`."""
        self._topology, self._troubles, self._silence, self._witnesses = topology, troubles, silence, witnesses
        self._again: dict[str, int] = {}  # when to look at a site again
        self.due = _NEVER

    def silences(self, changes: Iterable[SilenceChanged]) -> None:
        """Take in nodes that fell silent or were heard again, in the order in which that was known."""
        for site, known_at in {change.node[0]: change.known_at for change in changes}.items():
            nodes = self._silence.nodes_at.get(site, [])
            silent = {node: self._silence.heard_at[node] for node in nodes if node in self._silence.silent}
            whole = bool(silent) and len(silent) == len(nodes)
            last = max(silent.values(), default=0)
            began_at = max(last, min(self._witnesses.seen_at(site), known_at)) if whole else last
            self._troubles.silences(site, silent, whole=whole, began_at=began_at, known_at=known_at)

    def witnessed(self, news: Iterable[str], now: int) -> None:
        """Take in that witnesses say something new of sites."""
        for site in sorted(news):
            self._silence.doubt(site, self._witnesses.doubt(site, now))
            self._look(site, now)
            if self._troubles.of_site(site, "silence"):
                self._troubles.changed = True

    def tick(self, now: int) -> None:
        """Look again at sites whose time has come."""
        for site in sorted(site for site, at in self._again.items() if at <= now):
            self._look(site, now)
        self.due = min(self._again.values(), default=_NEVER)

    def _look(self, site: str, now: int) -> None:
        """Judge what only time makes certain: one of two lines lost, test packets refused."""
        waits = [self._line(site, now), self._packets(site, now), self._return(site, now)]
        at = min((wait for wait in waits if wait is not None), default=None)
        if at is None:
            self._again.pop(site, None)
        else:
            self._again[site] = at
            self.due = min(self.due, at)

    def _line(self, site: str, now: int) -> int | None:
        """Judge each of a site's two lines; return when to look again, if that must be."""
        lines = self._topology.lines_of(site)
        again = None
        for line in lines if len(lines) > 1 else []:
            place = Place("redundancy", site, self._topology.lines[line])
            since = self._witnesses.lost_line(line)
            if since is None:
                self._troubles.over(place)
            elif now >= since + _LINE_SECONDS * _SECOND:
                self._troubles.stand(place, began_at=since, known_at=now, severity="yellow")
            else:
                again = since + _LINE_SECONDS * _SECOND
        return again

    def _packets(self, site: str, now: int) -> int | None:
        """Judge whether a site that is heard sends test packets in vain."""
        place = Place("clock", site, "")
        since = self._witnesses.test_packets_since(site)
        if since is None:
            self._troubles.over(place)
            return None
        heard_at = max((self._silence.heard_at[node] for node in self._silence.nodes_at.get(site, ())), default=0)
        due = since + _PACKETS_SECONDS * _SECOND
        if now < due:
            return due
        if heard_at >= due - _SECOND * _PACKETS_SECONDS // 3:
            self._troubles.stand(place, began_at=since, known_at=now, severity="yellow")
        return None

    def _return(self, site: str, now: int) -> int | None:
        """Have the cause of a silence judged again, once a site that is seen should have been heard as well."""
        since = self._witnesses.coming_back(site) if self._troubles.of_site(site, "silence") else None
        due = None if since is None else since + RETURN_SECONDS * _SECOND
        if due is not None and now >= due:
            self._troubles.changed = True
            return None
        return due

    def save(self) -> list[Any]:
        """Return the state as plain data, for a checkpoint."""
        return [[site, at] for site, at in self._again.items()]

    def load(self, saved: list[Any]) -> None:
        """Take back what `save` returned."""
        self._again = dict(saved)
        self.due = min(self._again.values(), default=_NEVER)
