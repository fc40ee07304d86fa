"""Planned work: windows in which nobody is called to what was announced. Pure.

A window stops creating and telling; it never stops measuring or resolving. What is still broken at its end opens then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from collector.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.explain import Group
    from collector.incident import Place
    from collector.topology import Topology


class Planned(NamedTuple):
    """A window as it comes next, or is now."""

    window: Window
    start: int
    end: int


class Maintenance:
    """Every window: the configuration's, and those that people add while the collector runs."""

    def __init__(self, configured: Iterable[Window], topology: Topology) -> None:
        """Begin with the windows of the configuration."""
        self._configured = list(configured)
        self._topology = topology
        self.added: dict[str, Window] = {}

    @property
    def windows(self) -> list[Window]:
        """Return all of them."""
        return [*self._configured, *self.added.values()]

    def add(self, window: Window) -> None:
        """Add a window, or put it in the place of the one of its name."""
        self.added[window.window] = window

    def drop(self, name: str) -> None:
        """Take an added window away."""
        self.added.pop(name, None)

    def planned(self, now: int) -> list[Planned]:
        """Return each window that is on or still to come, at its next time, the earliest first."""
        found = []
        for window in self.windows:
            ahead = [(start, end) for start, end in window.spans(now) if end > now]
            if ahead:
                found.append(Planned(window, *min(ahead)))
        return sorted(found, key=lambda planned: (planned.start, planned.window.window))

    def touching(self, place: Place) -> list[Window]:
        """Return the windows that a place lies under while they are on."""
        return [window for window in self.windows if self._touches(window, place)]

    def covers(self, group: Group, now: int) -> int | None:
        """Return until when all that a group is about is under planned work; None where any of it is not."""
        on = [(window, until) for window in self.windows if (until := window.until(now)) is not None]
        if not on:
            return None
        whole = [until for window, until in on if self._touches(window, group.place)]
        if whole:
            return max(whole)
        ends = [max((u for w, u in on if self._touches(w, place)), default=None) for place in group.members]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None

    def _touches(self, window: Window, place: Place) -> bool:
        if window.everything or (place.site and place.site in window.sites):
            return True
        if place.kind == "service" and place.name in window.services:
            return True
        if place.kind == "upstream":
            return any(self._topology.covers(name, place.name) for name in window.upstreams)
        lines = [self._topology.lines[line] for line in self._topology.lines_of(place.site)]
        return bool(lines) and all(any(self._topology.covers(n, line) for n in window.upstreams) for line in lines)

    def save(self) -> list[Any]:
        """Return what was added, as plain data."""
        built: list[Any] = msgspec.to_builtins(list(self.added.values()))
        return built

    def load(self, saved: list[Any]) -> None:
        """Take back what `save` returned."""
        self.added = {window.window: window for window in msgspec.convert(saved, list[Window])}
