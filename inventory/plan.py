"""A province's plan: every address and every upstream from the official list alone, the same on each call.

The addresses of province PP, all in 10.PP.0.0/16:

    10.PP.0.0/24      data centre: router .1, control node .2, collector and its like .10, one-stop system .20, DNS .53
    10.PP.n.0/24      the LAN of commune n, counted by code from 1: gateway .1, computers from .11
    10.PP.240.0/21    access lines, a /30 each: line n starts at 4n; the carrier has +1, the gateway +2
    10.PP.248.0/22    second uplinks, likewise
    10.PP.254.0/24    WireGuard: hub .1, commune n has n+1

A commune keeps its n whichever others are left out, so a pilot's addresses stay when the rest of the province follows.

Which point of presence a commune hangs on is known to the carrier alone. The plan assumes that neighbours share one:
it halves the province along its longer side, over and over, into equal groups, and names each after the commune nearest
its middle. That is to be corrected by hand wherever the carrier says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from inventory.units import of_province, slug

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from inventory.units import Unit

SITES_PER_UPSTREAM = 13  # without --upstreams; eight for a hundred communes
ROUTER, CONTROL, SERVER, ONE_STOP, DNS = 1, 2, 10, 20, 53
GATEWAY, FIRST_COMPUTER = 1, 11


@dataclass(frozen=True, slots=True)
class Line:
    """One access line: the carrier's end and ours."""

    network: IPv4Network

    @property
    def carrier(self) -> IPv4Address:
        """The next hop of the site's gateway."""
        return self.network[1]

    @property
    def gateway(self) -> IPv4Address:
        """Our end of the line."""
        return self.network[2]


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What one commune gets."""

    unit: Unit
    number: int
    lan: IPv4Network
    line: Line
    second_line: Line
    tunnel: IPv4Address


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """A point of presence and the communes behind it."""

    upstream: str
    unit: Unit
    sites: tuple[SitePlan, ...]


@dataclass(frozen=True, slots=True)
class ProvincePlan:
    """A province on paper."""

    code: str
    name: str
    network: IPv4Network
    upstreams: tuple[UpstreamPlan, ...]

    @property
    def data_centre(self) -> IPv4Network:
        """The data centre's LAN."""
        return self._part(0, 24)

    @property
    def access(self) -> IPv4Network:
        """Every access line."""
        return self._part(240, 21)

    @property
    def second_access(self) -> IPv4Network:
        """Every second uplink."""
        return self._part(248, 22)

    @property
    def tunnels(self) -> IPv4Network:
        """The addresses inside WireGuard; the first is the hub's."""
        return self._part(254, 24)

    @property
    def sites(self) -> tuple[SitePlan, ...]:
        """Every commune, ordered by code."""
        return tuple(sorted((s for u in self.upstreams for s in u.sites), key=lambda site: site.unit.code))

    def _part(self, third: int, prefix: int) -> IPv4Network:
        return IPv4Network((int(self.network[0]) + (third << 8), prefix))


def plan_province(code: str, only: Collection[str] = (), upstreams: int | None = None) -> ProvincePlan:
    """Plan province `code`, or `only` some of its communes, behind so many points of presence.

    `ValueError` says which code is not on the list, or how many points of presence there may be.
    """
    units = of_province(code)
    if not units:
        raise ValueError(f"{code!r} is no province's code; `nhip inventory list` prints them")
    unknown = sorted(set(only) - {unit.code for unit in units})
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no commune of {units[0].province_name} has this code")
    whole = ProvincePlan(code, units[0].province_name, IPv4Network(f"10.{int(code)}.0.0/16"), ())
    sites = [_site(whole, number, unit) for number, unit in enumerate(units, 1) if not only or unit.code in only]
    wanted = upstreams if upstreams is not None else max(1, round(len(sites) / SITES_PER_UPSTREAM))
    if not 1 <= wanted <= len(sites):
        raise ValueError(f"{wanted} points of presence for {len(sites)} communes: choose from 1 to {len(sites)}")
    return ProvincePlan(code, whole.name, whole.network, _named(_split(sites, wanted)))


def _site(province: ProvincePlan, number: int, unit: Unit) -> SitePlan:
    return SitePlan(
        unit=unit,
        number=number,
        lan=province._part(number, 24),  # noqa: SLF001  (this module's own)
        line=_line(province.access, number),
        second_line=_line(province.second_access, number),
        tunnel=province.tunnels[number + 1],
    )


def _line(lines: IPv4Network, number: int) -> Line:
    return Line(IPv4Network((int(lines[0]) + 4 * number, 30)))


def _split(sites: list[SitePlan], parts: int) -> list[list[SitePlan]]:
    """Halve along the longer side until there are `parts` groups, whose sizes differ by one at most."""
    if parts == 1:
        return [sites]
    places = {site.unit.code: _place(site.unit) for site in sites}
    wide, high = ([place[axis] for place in places.values()] for axis in (0, 1))
    axis = 0 if max(wide) - min(wide) >= max(high) - min(high) else 1
    ordered = sorted(sites, key=lambda site: (places[site.unit.code][axis], site.unit.code))
    half = parts // 2
    small, larger = divmod(len(sites), parts)  # `larger` of the groups have one more
    cut = half * small + min(half, larger)
    return [*_split(ordered[:cut], half), *_split(ordered[cut:], parts - half)]


def _named(groups: Sequence[Sequence[SitePlan]]) -> tuple[UpstreamPlan, ...]:
    middles = [_middle([site.unit for site in group]) for group in groups]
    names = Counter(slug(unit.short_name, "_") for unit in middles)
    planned = []
    for group, unit in zip(groups, middles, strict=True):
        name = slug(unit.short_name, "_")
        upstream = f"pop_{name}" if names[name] == 1 else f"pop_{name}_{unit.code}"
        planned.append(UpstreamPlan(upstream, unit, tuple(sorted(group, key=lambda site: site.unit.code))))
    return tuple(sorted(planned, key=lambda each: each.upstream))


def _middle(units: Sequence[Unit]) -> Unit:
    places = [_place(unit) for unit in units]
    centre = tuple(sum(place[axis] for place in places) / len(places) for axis in (0, 1))
    return min(units, key=lambda unit: (math.dist(_place(unit), centre), unit.code))


def _place(unit: Unit) -> tuple[float, float]:
    """Return east and north in degrees of latitude: near enough for neighbours."""
    return unit.longitude * math.cos(math.radians(unit.latitude)), unit.latitude
