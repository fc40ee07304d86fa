"""How long a fault waits before it rings, so that what explains it can come first. Bounded, and cut short by proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.topology import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.config import Config
    from collector.detect.silence import Silence
    from collector.detect.witness import Witnesses
    from collector.explain import Group
    from collector.topology import Topology
    from collector.troubles import Trouble

_SECOND = 1_000_000_000
_SEEN_AFTER = 2 * _SECOND
"""A neighbour seen so long after a site's last sign of life was not lost with it."""
_PATH_SECONDS = 5
_TURN_SECONDS, _FAIL_OVER_SECONDS = 6, 30
"""A gateway turns to its other line within so long; then its agent's connections, bound to the lost one, begin anew."""
HEARD_NOBODY = 2 * _SECOND
"""Our own router does not answer, and so long nothing came from anybody: then it is our uplink."""
_TOGETHER = 3
_MOST_ASKED = 200


class Waiting:
    """Knows who is seen when."""

    def __init__(self, config: Config, topology: Topology, silence: Silence, witnesses: Witnesses) -> None:
        """Wait as `config` says."""
        self._wait = int(config.incidents.wait_seconds * _SECOND)
        self._doubted = int(config.silence.one_witness_seconds * _SECOND)
        self._returned = int((config.silence_seconds + config.restart_grace_seconds) * _SECOND)
        self._own = config.own
        self._topology, self._silence, self._witnesses = topology, silence, witnesses
        self._behind: dict[str, list[str]] = {}

    def until(self, group: Group, troubles: Sequence[Trouble], *, alive: bool) -> int:
        """Return until when a group waits that is no incident yet; it may be past."""
        kind, known_at = group.place.kind, min(trouble.known_at for trouble in troubles)
        if kind == "upstream":
            return known_at if group.complete else known_at + self._wait
        if kind == "redundancy":
            return known_at + _PATH_SECONDS * _SECOND
        site = group.place.site
        if kind == "path" and site == self._own.site and group.place.name in self._own.uplink:
            return known_at + HEARD_NOBODY + _SECOND
        if kind == "path":
            return known_at + (_PATH_SECONDS * _SECOND if self._neighbours(site) else 0)
        silent = next((trouble for trouble in troubles if trouble.place == group.place), None)
        if kind != "silence" or silent is None or not silent.whole or silent.alone:
            return known_at
        return self._silent(silent, alive=alive)

    def _silent(self, trouble: Trouble, *, alive: bool) -> int:
        site, began_at, known_at = trouble.place.site, trouble.began_at, trouble.known_at
        lines = self._topology.lines_of(site)
        seen = sum(self._witnesses.line_seen_at(line) > began_at + _SECOND for line in lines)
        if len(lines) > 1 and seen < len(lines) and all(self._witnesses.line_seen_at(line) for line in lines):
            return known_at + (_FAIL_OVER_SECONDS if seen else _TURN_SECONDS) * _SECOND
        # Nobody could be heard while the collector was away: those lost with it are known only so much later.
        resumed_at = self._silence.resumed_at
        if self._most_unheard(site, resumed_at):
            return max(known_at, resumed_at + self._returned + self._wait)
        known_at = max(known_at, resumed_at + self._doubted if self._neighbours(site) else 0)
        proven = self._witnesses.asked_since(site, began_at) and alive and self._not_shared(site, began_at)
        return known_at if proven else known_at + self._wait

    def _neighbours(self, site: str) -> bool:
        return any(len(self._sites(upstream)) > 1 for upstream in self._chain(site))

    def _most_unheard(self, site: str, resumed_at: int) -> bool:
        """Tell whether most of those behind the same upstream have not been heard since the collector's own return."""
        others = self._sites(chain[0]) if (chain := self._chain(site)) else []
        return 2 * sum(self._seen_at(other) <= resumed_at for other in others) > len(others) > 1

    def _not_shared(self, site: str, began_at: int) -> bool:
        """Tell whether nothing that a site shares with others can be why it is lost: most of them were seen since."""
        for upstream in self._chain(site):
            others = self._sites(upstream)
            if len(others) > _MOST_ASKED:
                return False
            unseen = sum(self._seen_at(other) <= began_at + _SEEN_AFTER for other in others)
            if unseen > 1 and (2 * unseen > len(others) or unseen >= _TOGETHER):
                return False
        return True

    def _seen_at(self, site: str) -> int:
        heard = max((self._silence.heard_at[node] for node in self._silence.nodes_at.get(site, ())), default=0)
        return max(heard, self._witnesses.seen_at(site))

    def _chain(self, site: str) -> list[str]:
        lines = self._topology.lines_of(site)
        names = [name for line in lines for name in self._topology.above(self._topology.lines[line])]
        return [*names, ROOT] if names else []

    def _sites(self, upstream: str) -> list[str]:
        """Return the watched sites behind an upstream."""
        if upstream not in self._behind:
            self._behind[upstream] = sorted({line.site for line in self._topology.behind(upstream)})
        return [site for site in self._behind[upstream] if self._silence.nodes_at.get(site)]
