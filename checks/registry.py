"""Every check by name. A module is imported only when its check is used: an agent pays for what it runs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from checks.strict import ConfigError, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.check import Check

CHECKS: dict[str, str] = {
    "icmp_echo": "checks.icmp_echo:IcmpEcho",
    "tcp_connect": "checks.tcp_connect:TcpConnect",
    "open_ports": "checks.open_ports:OpenPorts",
    "http_get": "checks.http_get:HttpGet",
    "dns_query": "checks.dns_query:DnsQuery",
    "host_health": "checks.host_health:HostHealth",
    "unit_state": "checks.unit_state:UnitState",
    "stamp": "checks.stamp:Stamp",
    "icmp_sweep": "checks.icmp_sweep:IcmpSweep",
    "tls_certificate": "checks.tls_certificate:TlsCertificate",
    "timestamp_authority": "checks.timestamp_authority:TimestampAuthority",
    "ntp_offset": "checks.ntp_offset:NtpOffset",
    "mail": "checks.mail:Mail",
    "power": "checks.power:Power",
    "nagios_plugin": "checks.nagios_plugin:NagiosPlugin",
    "route": "checks.route:Route",
    "path_mtu": "checks.path_mtu:PathMtu",
    "lan_hygiene": "checks.lan_hygiene:LanHygiene",
    "snmp": "checks.snmp:Snmp",
    "capacity": "checks.capacity:Capacity",
    "interface_use": "checks.interface_use:InterfaceUse",
    "ocsp_responder": "checks.ocsp_responder:OcspResponder",
    "ca_list": "checks.ca_list:CaList",
}


def load(name: str) -> type[Check]:
    """Return the class of the check called `name`; `ConfigError` names the known ones when there is none."""
    try:
        module, _, attribute = CHECKS[name].partition(":")
    except KeyError:
        raise ConfigError([("$", f"no check is called {name!r}; there are: {', '.join(CHECKS)}")]) from None
    return cast("type[Check]", getattr(importlib.import_module(module), attribute))


def make(name: str, parameters: Mapping[str, object], path: str = "$") -> Check:
    """Build a check from its parameters. `ConfigError` lists everything that is wrong with them, under `path`."""
    return build(load(name), dict(parameters), path)
