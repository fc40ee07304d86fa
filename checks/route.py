"""The route to a destination: which hops it passes, how long each takes to answer, and whether it has changed."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import host_address
from checks.check import Noted, Unreachable
from checks.route_path import changed_since, loops, path_id, path_of
from checks.route_socket import ProbeSocket, flow_of
from checks.route_trace import Plan, Trace

if TYPE_CHECKING:
    from checks.address import Address
    from checks.route_path import Path
    from checks.route_trace import Hop

_SPARE_SECONDS = 0.5

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a traced route."""

    name: ClassVar[str] = "route"
    summary: ClassVar[str] = "the hops on the way to a host, how soon each answers, and whether the path has changed"
    target_help: ClassVar[str] = "a host: 10.92.0.1, fd00::1 or a name"
    metrics: ClassVar[Mapping[str, str]] = {
        "reached": "1 when the destination answers, else 0",
        "hops": "hops to the destination; to the last one that answers where the destination does not, count",
        "rtt_seconds[hop]": "median round trip of a hop's answers, seconds; absent where it is silent",
        "loss_ratio[hop]": "share of the probes that a hop did not answer, 0 to 1; absent where only later hops do",
        "first_hop_rtt_seconds": "rtt_seconds[1]: the way to the site's own gateway, seconds",
        "first_hop_loss_ratio": "loss_ratio[1], 0 to 1",
        "second_hop_rtt_seconds": "rtt_seconds[2]: the way to the far end of the access line, seconds",
        "second_hop_loss_ratio": "loss_ratio[2], 0 to 1",
        "destination_rtt_seconds": "median round trip of the destination's answers, seconds",
        "destination_loss_ratio": "share of the probes that the destination did not answer, 0 to 1",
        "loop": "1 when a router is met again after another, so that packets run in a circle, else 0",
        "path_id": "a number made of the addresses of all hops that answer: the same for the same path",
        "path_changed": "1 when a hop is another than in this agent's measurement before, else 0; absent at first",
        "packets_sent": "probes sent, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"reached": 0.0}

    protocol: Annotated[
        Literal["icmp", "udp", "tcp"], msgspec.Meta(description="tcp needs CAP_NET_RAW; udp does better with it")
    ] = "icmp"
    port: Annotated[Port | None, msgspec.Meta(description="destination port; none: 33434 for udp, 443 for tcp")] = None
    probes: Annotated[int, msgspec.Meta(ge=1, le=10, description="probes to each hop")] = 3
    max_hops: Annotated[int, msgspec.Meta(ge=1, le=64, description="ask no farther than this")] = 30
    interval_seconds: Annotated[float, msgspec.Meta(ge=0.001, le=1, description="from probe to probe")] = 0.01
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=10, description="after this a probe is lost")] = 1.0
    source: Annotated[str | None, msgspec.Meta(description="local address to send from")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 10.0

    def __post_init__(self) -> None:
        """Refuse a route that cannot be traced before its deadline."""
        if self.timeout_seconds < self.longest_seconds + _SPARE_SECONDS:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds:g}) must be at least {self.longest_seconds + _SPARE_SECONDS:g}"
                f": probes x max_hops x interval_seconds + {self._waits}packet_timeout_seconds + {_SPARE_SECONDS:g}"
            )
        if self.port is not None and self.protocol == "icmp":
            raise ValueError("port: ICMP has no ports; leave it out, or choose protocol udp or tcp")

    @property
    def longest_seconds(self) -> float:
        """How long it takes when the destination is silent."""
        waits = self.probes if self.protocol == "tcp" else 1
        return self.probes * self.max_hops * self.interval_seconds + waits * self.packet_timeout_seconds

    @property
    def _waits(self) -> str:
        return "probes x " if self.protocol == "tcp" else ""

    async def measure(self, target: str) -> dict[str, float]:
        """Trace the route to `target`; `Unreachable` says up to where packets get when it does not answer."""
        spare_seconds = self.timeout_seconds - self.longest_seconds - _SPARE_SECONDS / 2
        address = await host_address(target, self.ip_version, spare_seconds)
        port = self.port or {"icmp": 0, "udp": 33_434, "tcp": 443}[self.protocol]
        flow = flow_of(f"{self.protocol} {address[1][0]} {port}")
        try:
            probe = ProbeSocket(self.protocol, address, port, self.source, flow)
        except OSError as exc:
            words = f"{(exc.strerror or 'not sent').lower()} (said by this machine)"
            raise Unreachable(words, {"packets_sent": 0.0}) from None
        with probe:
            trace = Trace(probe, self._plan())
            await trace.run()
            return self._told(trace, probe, address)

    def _plan(self) -> Plan:
        return Plan(
            probes=self.probes,
            max_hops=self.max_hops,
            interval_seconds=self.interval_seconds,
            patience_seconds=self.packet_timeout_seconds,
            one_at_a_time=self.protocol == "tcp",
        )

    def _told(self, trace: Trace, probe: ProbeSocket, address: Address) -> dict[str, float]:
        metrics = summary(trace.hops, trace.reached_at, trace.last)
        metrics["packets_sent"] = float(trace.packets_sent)
        path = path_of(trace.hops, int(metrics["hops"]))
        changed = changed_since(f"{self.protocol} {address[1]} {self.port} {probe.source} {probe.flow}", path)
        if changed is not None:
            metrics["path_changed"] = float(changed)
        notes = [_note(number, trace.hops[number]) for number in range(1, len(path) + 1)]
        if probe.short_quotes:
            notes.append(
                f"{probe.short_quotes} answers quote too little of the probe to tell which: "
                "choose protocol icmp, or give this process CAP_NET_RAW"
            )
        if trace.reached_at is None:
            raise Unreachable(_where_it_ends(path, trace.refusal, address, metrics), metrics, notes)
        return Noted(metrics, notes)


def summary(hops: Mapping[int, Hop], reached_at: int | None, last: int | None) -> dict[str, float]:
    """Describe a traced route: hops by number, where the destination answered, and beyond which nobody was asked."""
    answering = [number for number, hop in hops.items() if hop.round_trips and number <= (last or number)]
    length = max(answering, default=0)
    metrics = {"reached": float(reached_at is not None), "hops": float(length)}
    for number in range(1, length + 1):
        metrics |= _hop(hops[number], f"rtt_seconds[{number}]", f"loss_ratio[{number}]")
    for number, name in ((1, "first_hop"), (2, "second_hop")):
        if number in hops and number <= (last or number):
            found = _hop(hops[number], f"{name}_rtt_seconds", f"{name}_loss_ratio")
            # Silent, and nobody behind it answers either: this may be where packets are lost.
            metrics |= found or ({f"{name}_loss_ratio": 1.0} if number > length else {})
    if reached_at is not None:
        metrics |= _hop(hops[reached_at], "destination_rtt_seconds", "destination_loss_ratio")
    path = path_of(hops, length)
    return {**metrics, "loop": float(bool(loops(path))), "path_id": path_id(path)}


def _hop(hop: Hop, rtt: str, loss: str) -> dict[str, float]:
    if not hop.round_trips:
        return {}
    return {rtt: hop.median(), loss: 1 - len(hop.round_trips) / hop.sent}


def _note(number: int, hop: Hop) -> str:
    if not hop.round_trips:
        return f"{number:2}  does not answer, but passes packets on"
    lost = hop.sent - len(hop.round_trips)
    words = f"  {lost} of {hop.sent} lost" if lost else ""
    return f"{number:2}  {' '.join(hop.addresses)}  {hop.median() * 1000:.3g} ms{words}"


def _where_it_ends(path: Path, refusal: str | None, address: Address, metrics: Mapping[str, float]) -> str:
    if circle := loops(path):
        return f"packets run in a circle: {', '.join(circle)}"
    if refusal:
        return refusal
    if not path:
        return f"nobody answers on the way to {address[1][0]}, not even the first hop"
    return f"{address[1][0]} does not answer; the last hop that does is {metrics['hops']:g}, {' or '.join(path[-1])}"
