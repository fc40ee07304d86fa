"""What people call things: sites, upstreams and services, by the configuration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.topology import ROOT, Topology

if TYPE_CHECKING:
    from collector.config import Config
    from collector.incident import Place


class Names:
    """Knows the configured name of everything that has one."""

    def __init__(self, config: Config) -> None:
        """Take names from `config`."""
        self.sites = {site.site: site.name for site in config.sites}
        self._own = config.own.site
        self._upstreams = dict(Topology.of(config).names)
        self._services = {service.service: service.name for service in config.services if service.name}

    def site(self, site: str) -> str:
        """Return a site's name, or its id where it has none."""
        return self.sites.get(site, site)

    def service(self, service: str) -> str:
        """Return a service's name, or its id where it has none."""
        return self._services.get(service, service)

    def place(self, place: Place) -> str:
        """Return what people call an upstream or a service; "" where they call it nothing else than what it is."""
        if place.kind in ("upstream", "redundancy") and place.name != ROOT:
            return self._upstreams.get(place.name, "")
        return self._services.get(place.name, "") if place.kind == "service" else ""

    def where(self, place: Place) -> str:
        """Return where a place is, for a title: its site's name; of what many share, its own."""
        return self.site(place.site) if place.site else self.place(place) or place.name or self.site(self._own)
