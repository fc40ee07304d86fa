"""Filters of the role workstation: what browsers want said in words of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Fields = dict[str, Any]


def workstation_firefox_bookmark(service: Mapping[str, str]) -> Fields:
    """Return a service as a bookmark of Firefox' policy."""
    return {"Title": service["name"], "URL": service["url"], "Placement": "toolbar"}


def workstation_chromium_bookmark(service: Mapping[str, str]) -> Fields:
    """Return a service as a bookmark of Chromium's policy."""
    return {"name": service["name"], "url": service["url"]}


def workstation_firefox_proxy(proxy: str, exceptions: Sequence[str]) -> Fields:
    """Return how Firefox reaches the web: by the proxy (`host:port`), or directly where there is none."""
    if not proxy:
        return {"Mode": "none", "Locked": True}
    return {
        "Mode": "manual",
        "Locked": True,
        "HTTPProxy": proxy,
        "UseHTTPProxyForAllProtocols": True,
        "Passthrough": ", ".join(_suffix(each) for each in exceptions),
    }


def workstation_chromium_proxy(proxy: str, exceptions: Sequence[str]) -> Fields:
    """Return the same for Chromium."""
    if not proxy:
        return {"ProxyMode": "direct"}
    bypass = ",".join(_suffix(each) for each in exceptions)
    return {"ProxyMode": "fixed_servers", "ProxyServer": proxy, "ProxyBypassList": bypass}


def _suffix(exception: str) -> str:
    """Return a network as it is, and a domain so that it covers the names in it."""
    return exception if exception[:1].isdigit() else f".{exception.lstrip('.')}"


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        offered = (
            workstation_firefox_bookmark,
            workstation_chromium_bookmark,
            workstation_firefox_proxy,
            workstation_chromium_proxy,
        )
        return {each.__name__: each for each in offered}
