"""Which place a series is about: the inventory's services first, then what the target itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collector.incident import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.catalogue import Series
    from collector.config import Service

_PATHS = ("icmp_echo", "stamp", "route", "path_mtu", "capacity")
_OFFSETS = ("offset_abs_seconds", "offset_seconds")
_NODES = ("host_health", "agent", "power", "interface_use", "lan_hygiene")


class Places:
    """Knows the targets of every service."""

    def __init__(self, services: Sequence[Service]) -> None:
        """Name places by these services."""
        self._services: dict[str, str] = {}
        self.name(services)

    def name(self, services: Sequence[Service]) -> None:
        """Know these services instead."""
        self._services = {target: service.service for service in services for target in service.targets}
        self.shared = {service.service for service in services if service.shared}

    def service(self, series: Series) -> str:
        """Return the inventory's service that a series is about, "" where it is about none."""
        return self._services.get(series.target) or self._services.get(endpoint(series.target)) or ""

    def of(self, series: Series, metric: str = "") -> Place:
        """Return the place that a metric of a series is about."""
        if metric in _OFFSETS:
            return Place("clock", series.site, series.node)
        service = self.service(series)
        if service:
            return Place("service", series.site, service)
        if series.check in _PATHS:
            return Place("path", series.site, series.target)
        if series.check in _NODES or not series.target:
            return Place("node", series.site, series.node)
        return Place("service", series.site, endpoint(series.target))


def endpoint(target: str) -> str:
    """Return `host:port` of a web address, so that a page and its port are one place; anything else as it is."""
    if "://" not in target:
        return target
    try:
        parts = urlsplit(target)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return target
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
