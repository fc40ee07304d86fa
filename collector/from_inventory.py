"""What an inventory says, as the collector's configuration has it: sites, upstreams, services and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checks.strict import ConfigError
from collector.config import Config, Service, Site, Upstream
from inventory import topology

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN = ("sites", "upstreams", "services", "limits")


def with_inventory(config: Config, folder: Path) -> Config:
    """Return the configuration with what stands in the inventory; `ConfigError` has every problem, by file and line."""
    twice = [name for name in _TAKEN if getattr(config, name)]
    if twice:
        words = "stands in the inventory: write it there alone, or leave out `inventory`"
        raise ConfigError([(f"$.{name}", words) for name in twice])
    found = topology.read(folder)
    names = {upstream.upstream: upstream.name for upstream in found.upstreams}
    return msgspec.structs.replace(
        config,
        sites=[_site(site, names, found) for site in found.sites],
        upstreams=[Upstream(upstream=each.upstream, name=each.name, parent=each.parent) for each in found.upstreams],
        services=[
            Service(service=each.service, name=each.name, targets=each.all_targets, shared=each.shared)
            for each in found.services
            if each.all_targets
        ],
        limits=list(found.limits),
    )


def _site(site: topology.Site, names: dict[str, str], found: topology.Inventory) -> Site:
    baseline = found.baseline.get(site.site)
    return Site(
        site=site.site,
        name=site.name,
        group=names.get(site.upstream, ""),
        upstream=site.upstream,
        second_upstream=site.second_upstream,
        addresses=list(site.addresses),
        limits=list(site.limits),
        population=site.population,
        baseline=baseline.metrics if baseline else {},
    )
