"""TCP connect: does something accept connections there, and how long does the handshake take."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import Annotated, ClassVar, Literal

import msgspec

from checks.address import split_host_port
from checks.connect import connect
from checks.phases import Phases


class TcpConnect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one connection, which is closed as soon as it stands."""

    name: ClassVar[str] = "tcp_connect"
    summary: ClassVar[str] = "whether a TCP port accepts connections, and how quickly"
    target_help: ClassVar[str] = "host:port: 10.92.0.1:443, [fd00::1]:443 or a name with a port"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the connection was made, else 0",
        "dns_seconds": "time to resolve the name, seconds",
        "connect_seconds": "time from the first packet to the connection, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 5.0

    async def measure(self, target: str) -> dict[str, float]:
        """Connect to `target` and close; `Unreachable` says why not, for example `connection refused`."""
        host, port = split_host_port(target)
        phases = Phases(self.timeout_seconds)
        (await connect(phases, host, port, self.ip_version)).close()
        return {"success": 1.0, **phases.metrics}
