"""What there is on this machine to measure: its listening services, its units, and its way out if asked for."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_WEB = {80, 3000, 5000, 8000, 8008, 8080, 8081, 8888, 9090}
_WEB_TLS = {443, 8443, 9443}
_EPHEMERAL_FROM = 32_768
_MOST_SERVICES = 20
_UNIT = re.compile(r"/([\w@:.\\-]+\.service)(/|\Z)")
_WILDCARD = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Service:
    """A process of this machine that listens: a name for people, where it answers, and its unit if it has one."""

    name: str
    host: str
    port: int
    process: str
    unit: str | None = None

    @property
    def address(self) -> str:
        """Return `host:port`, or `[v6]:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def checks(self) -> list[dict[str, Any]]:
        """Return the checks that watch it, as `agent.yml` wants them."""
        watched = [_check("tcp_connect", self.address, timeout_seconds=2)]
        if self.port in _WEB | _WEB_TLS:
            scheme = "https" if self.port in _WEB_TLS else "http"
            # Any answer will do: what stands behind a port of this machine is not ours to judge.
            answers: dict[str, Any] = {"expected_status": list(range(200, 500)), "max_redirects": 0}
            if scheme == "https":
                answers["verify_tls"] = False
            watched.append(_check("http_get", f"{scheme}://{self.address}/", 2, timeout_seconds=2, **answers))
        if self.unit is not None:
            watched.append(_check("unit_state", self.unit))
        return watched

    def targets(self) -> list[str]:
        """Return every target that is about this service."""
        return [str(check["target"]) for check in self.checks()]


def listening(own_port: int) -> list[Service]:
    """Return the services that listen on TCP on this machine, but for `own_port`: that is us."""
    found: dict[int, Service] = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        host, port = connection.laddr.ip, connection.laddr.port
        reachable = _WILDCARD.get(host, host)
        if port == own_port or port >= _EPHEMERAL_FROM or reachable not in ("127.0.0.1", "::1") or port in found:
            continue
        process = _process(connection.pid)
        found[port] = Service(f"{process or 'tcp'}:{port}", reachable, port, process, _unit(connection.pid))
    return [found[port] for port in sorted(found)][:_MOST_SERVICES]


def own_checks(board: str, reflector: str) -> list[dict[str, Any]]:
    """Return the checks of this machine itself, of the collector behind `board`, and of the reflector's address."""
    checks = [
        _check("icmp_echo", "127.0.0.1", interval=2, count=5, interval_seconds=0.05, timeout_seconds=2),
        _check("host_health", "host", interval=5),
        _check("http_get", f"{board}health", timeout_seconds=2),
        _check("stamp", reflector, interval=5, continuous=True, interval_seconds=0.5),
    ]
    if _has_ipv6():
        checks.insert(1, _check("icmp_echo", "::1", interval=5, count=5, interval_seconds=0.05, timeout_seconds=2))
    return checks


def way_out() -> list[dict[str, Any]]:
    """Return checks of the default gateway and the resolvers, as this machine is configured."""
    checks = []
    gateway = _default_gateway()
    if gateway is not None:
        checks.append(_check("icmp_echo", gateway, interval=5, count=5, interval_seconds=0.2, timeout_seconds=4))
    for number, resolver in enumerate(_resolvers()):
        address = f"[{resolver}]:53" if ":" in resolver else f"{resolver}:53"
        checks.append(_check("tcp_connect", address, interval=5, timeout_seconds=3))
        if number == 0:  # a series is named by its target, and the name asked for is the same for every resolver
            checks.append(_check("dns_query", "localhost", interval=5, timeout_seconds=3, server=resolver))
    return checks


def _check(name: str, target: str, interval: float = 2, **parameters: object) -> dict[str, Any]:
    entry: dict[str, Any] = {"check": name, "target": target, "interval_seconds": interval}
    return {**entry, "with": parameters} if parameters else entry


def _process(pid: int | None) -> str:
    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        return ""


def _unit(pid: int | None) -> str | None:
    """Return the systemd unit of a process, read from its control group; None where there is none."""
    if pid is None or not Path("/run/systemd/system").is_dir():
        return None
    try:
        found = _UNIT.search(Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return found[1] if found and not found[1].startswith("user@") else None


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _default_gateway() -> str | None:
    """Return the IPv4 default gateway from the kernel's table, whose addresses are little-endian hexadecimal."""
    for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == "00000000" and words[2] != "00000000":
            return socket.inet_ntoa(bytes.fromhex(words[2])[::-1])
    return None


def _resolvers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return list(dict.fromkeys(w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and "%" not in w[1]))[:3]
