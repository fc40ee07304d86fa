"""Who is behind whom: sites, the upstreams that their lines pass on the way here, and which address is whose. Pure.

    access line → point of presence → carrier → the data centre

A site has one line, or two: then it is cut off only once both are. A line is known by its site and its number, 0 for
the first. `ROOT` stands above every upstream: the data centre's own edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config import Config, Site, Upstream

ROOT = ""


class Line(NamedTuple):
    """One of a site's lines."""

    site: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """The tree of upstreams, and what hangs on it."""

    parents: Mapping[str, str] = field(default_factory=dict)
    """By upstream; `ROOT` for one at the top."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What people call each upstream."""
    lines: Mapping[Line, str] = field(default_factory=dict)
    """The upstream next to each line. A site that hangs on nothing has no line here."""
    addresses: Mapping[str, Line] = field(default_factory=dict)
    """Whose gateway, at which line, an address is."""
    depths: Mapping[str, int] = field(default_factory=dict)
    """How many upstreams stand above each; 0 for one at the top."""
    sites: Mapping[str, str] = field(default_factory=dict)
    """The name of each site that is configured."""

    @classmethod
    def of(cls, config: Config) -> Topology:
        """Return the topology that a configuration describes; it must have been found free of `problems`."""
        listed = {item.upstream: item for item in config.upstreams}
        lines = {
            Line(site.site, number): upstream
            for site in config.sites
            for number, upstream in enumerate(upstreams_of(site))
            if upstream
        }
        parents = {name: listed[name].parent if name in listed else ROOT for name in (*listed, *lines.values())}
        addresses = {
            address: Line(site.site, number) for site in config.sites for number, address in enumerate(site.addresses)
        }
        depths = {name: len(_above(name, parents)) - 1 for name in parents}
        names = {name: (listed[name].name or name) if name in listed else name for name in parents}
        return cls(parents, names, lines, addresses, depths, {site.site: site.name for site in config.sites})

    def above(self, upstream: str) -> list[str]:
        """Return an upstream and all that stand above it, the nearest first, without `ROOT`."""
        return _above(upstream, self.parents)

    def lines_of(self, site: str) -> list[Line]:
        """Return a site's lines, in order."""
        return [line for line in (Line(site, 0), Line(site, 1)) if line in self.lines]

    def covers(self, upstream: str, other: str) -> bool:
        """Tell whether everything behind `other` is also behind `upstream`."""
        return upstream == ROOT or upstream in _above(other, self.parents)

    def behind(self, upstream: str) -> list[Line]:
        """Return every line whose way here passes an upstream."""
        return [line for line, nearest in self.lines.items() if self.covers(upstream, nearest)]


def upstreams_of(site: Site) -> list[str]:
    """Return what each of a site's lines hangs on; where a site says nothing, its group."""
    first = site.upstream or site.group
    return [first, site.second_upstream] if site.second_upstream else [first]


def problems(config: Config) -> list[tuple[str, str]]:
    """Return what is wrong with the upstreams that a configuration names, each with its place."""
    known = {item.upstream for item in config.upstreams}
    parents = {item.upstream: item.parent for item in config.upstreams}
    found = []
    for index, item in enumerate(config.upstreams):
        if item.parent and item.parent not in known:
            found.append((f"$.upstreams[{index}].parent", _unknown(item.parent, config.upstreams)))
        elif loop := _loop(item.upstream, parents):
            found.append((f"$.upstreams[{index}].parent", f"leads back to itself: {' → '.join(loop)}"))
    for index, site in enumerate(config.sites):
        for key in ("upstream", "second_upstream"):
            name = getattr(site, key)
            if name and known and name not in known:
                found.append((f"$.sites[{index}].{key}", _unknown(name, config.upstreams)))
        if site.second_upstream and site.second_upstream == (site.upstream or site.group):
            words = f"{site.second_upstream!r} is the first one too: a second line that shares it protects from nothing"
            found.append((f"$.sites[{index}].second_upstream", words))
    return found + _shared_addresses(config)


def _shared_addresses(config: Config) -> list[tuple[str, str]]:
    owners: dict[str, str] = {}
    found = []
    for index, site in enumerate(config.sites):
        for number, address in enumerate(site.addresses):
            owner = owners.setdefault(address, site.site)
            if owner != site.site:
                found.append((f"$.sites[{index}].addresses[{number}]", f"{address} is already an address of {owner!r}"))
    return found


def _unknown(name: str, upstreams: list[Upstream]) -> str:
    listed = ", ".join(item.upstream for item in upstreams[:10])
    return f"no upstream {name!r} is listed; there are: {listed}{' …' if len(upstreams) > 10 else ''}"  # noqa: PLR2004  (a line)


def _loop(start: str, parents: Mapping[str, str]) -> list[str]:
    """Return the way from `start` back to it; empty where it leads to the top, or into somebody else's loop."""
    way = [start]
    while (name := parents.get(way[-1], ROOT)) != ROOT:
        if name == start:
            return [*way, start]
        if name in way:
            return []
        way.append(name)
    return []


def _above(upstream: str, parents: Mapping[str, str]) -> list[str]:
    way = [upstream]
    while (name := parents.get(way[-1], ROOT)) != ROOT and name not in way:
        way.append(name)
    return way
