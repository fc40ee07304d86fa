"""Capacity of the line to the data centre, both ways, against our own server: see `docs/checks/capacity.md`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import split_host, split_host_port
from checks.check import CheckError, Noted
from checks.phases import Phases
from checks.secret import read_key

if TYPE_CHECKING:
    from checks.capacity_client import Conversation, Direction
    from checks.capacity_wire import Ask

# What measures is imported where it does: in the child process. The agent keeps parameters and no more.
PORT = 8620
LEAST_PACKET, LARGEST_PACKET = 88, 9000
_LOOK_SECONDS = 0.5
_NONCE = "0" * 32

Ratio = Annotated[float, msgspec.Meta(gt=0, le=1)]


def _both(name: str, meaning: str) -> dict[str, str]:
    """Name a metric for each direction."""
    return {name.format(way): meaning.format(way) for way in ("up", "down")}


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a test: how, how much it may cost, and when to leave it be."""

    name: ClassVar[str] = "capacity"
    summary: ClassVar[str] = "what the line to the data centre has to give, in both directions, for few bytes"
    target_help: ClassVar[str] = "a capacity server: 10.92.0.1, [fd00::1]:8620 or a name, port 8620 unless given"
    metrics: ClassVar[Mapping[str, str]] = {
        **_both("capacity_{}_bits_per_second", "available capacity {} by UDP, IP-layer bits per second (RFC 9097)"),
        **_both("capacity_{}_min_bits_per_second", "slowest quarter of the span measured {}, bits per second"),
        **_both("capacity_{}_max_bits_per_second", "fastest quarter of the span measured {}, bits per second"),
        **_both(
            "capacity_{}_ratio",
            "capacity {} as a share of line_bits_per_second, 0 to 1 or more; absent for a lower bound",
        ),
        **_both("settled_{}", "1 when the rate {} settled; 0 when it is a lower bound, because a cap came first"),
        **_both("loss_{}_ratio", "share of the test's packets {} that were lost, 0 to 1"),
        **_both("queue_delay_{}_seconds", "time a packet waited in the line's queue {} while it was full, seconds"),
        **_both("throughput_{}_bits_per_second", "payload carried {} by TCP, bits per second (RFC 6349)"),
        **_both("tcp_efficiency_{}_ratio", "share of the bytes {} that TCP did not have to send again, 0 to 1"),
        **_both(
            "buffer_delay_{}_ratio",
            "how much longer a round trip takes under load {}, 0 to 1 and beyond: 1 is twice as long",
        ),
        **_both("round_trips_{}_per_minute", "responsiveness under load {}, round trips a minute"),
        "rtt_seconds": "shortest round trip before the load, seconds; only by TCP",
        "bytes_sent": "what the test cost the line up, IP-layer bytes",
        "bytes_received": "what the test cost the line down, IP-layer bytes",
        "skipped": "1 when the line was too busy to be tested, else 0",
        "line_use_ratio": "how busy the line was in the half second before, the busier direction, 0 to 1",
        "success": "1 when every direction was measured or the line was busy, else 0",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}
    child_process: ClassVar[bool] = True
    lease: ClassVar[bool] = True

    mode: Annotated[Literal["udp", "tcp"], msgspec.Meta(description="udp: capacity; tcp: what TCP makes of it")] = "udp"
    direction: Annotated[Literal["both", "up", "down"], msgspec.Meta(description="up is towards the server")] = "both"
    packet_bytes: Annotated[
        int, msgspec.Meta(ge=LEAST_PACKET, le=LARGEST_PACKET, description="length of an IP packet of the UDP test")
    ] = 1428
    streams: Annotated[int, msgspec.Meta(ge=1, le=16, description="TCP connections of load at once")] = 4
    max_bytes: Annotated[int, msgspec.Meta(ge=50_000, le=10**10, description="cap for each direction")] = 25_000_000
    max_seconds: Annotated[float, msgspec.Meta(ge=1, le=60, description="cap for each direction")] = 10.0
    line_bits_per_second: Annotated[
        float, msgspec.Meta(gt=0, description="what the line should carry, to tell when it is busy")
    ] = 200e6
    skip_above_ratio: Annotated[
        Ratio, msgspec.Meta(description="leave a line alone that is busier than this share; 1 never does")
    ] = 0.5
    ssid: Annotated[int, msgspec.Meta(ge=0, le=65_535, description="session identifier of this site's key")] = 0
    key_file: Annotated[str | None, msgspec.Meta(description="file of the key that the server asks for, as hex")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(ge=5, le=300, description="deadline of the whole check")] = 40.0

    @property
    def lease_bytes(self) -> int:
        """Return the most that a test may cost the line, both directions together."""
        return self.max_bytes * len(self._ways())

    def __post_init__(self) -> None:
        """Refuse a key that nobody could find."""
        if self.key_file is not None and not self.ssid:
            raise ValueError("key_file needs ssid: the server finds the key by it")

    async def measure(self, target: str) -> dict[str, float]:
        """Test the line to `target`, unless it is busy; `Unreachable` says at which step the server did not answer."""
        from checks.capacity_client import Refused  # noqa: PLC0415  (see above)

        host, port = _server(target)
        key = self._key()
        phases = Phases(self.timeout_seconds)
        while True:
            try:
                return await self._test(phases, host, port, key)
            except Refused as exc:
                wait = exc.retry_after_seconds
                if wait is None or wait + _LOOK_SECONDS > phases.left_seconds / 2:
                    raise CheckError(f"the capacity server refuses: {exc}") from None
                await asyncio.sleep(wait)

    async def _test(self, phases: Phases, host: str, port: int, key: bytes | None) -> dict[str, float]:
        from checks.capacity_client import Conversation  # noqa: PLC0415  (see above)

        phases.metrics.clear()
        async with await Conversation.open(phases, host, port, self.ip_version) as conversation:
            phases.metrics.clear()  # a name's and a connection's time are other checks' business
            use = await self._use(conversation.local[0])
            if use is not None and use >= self.skip_above_ratio < 1:
                metrics = {"skipped": 1.0, "line_use_ratio": use, "success": 1.0}
                return Noted(metrics, [f"skipped: the line is busy by {use:.0%} of its rate; tested when it is not"])
            phases.metrics["skipped"] = 0.0
            if use is not None:
                phases.metrics["line_use_ratio"] = use
            if self.mode == "udp":
                await self._udp(phases, conversation, key)
            else:
                await self._tcp(phases, conversation, key)
            for name, spent in zip(("bytes_sent", "bytes_received"), conversation.bytes_used(), strict=True):
                phases.metrics[name] += float(spent)
        return {**phases.metrics, "success": 1.0}

    async def _udp(self, phases: Phases, conversation: Conversation, key: bytes | None) -> None:
        from checks.capacity_client import UdpTest  # noqa: PLC0415  (see above)

        accept = await conversation.agree(self._ask(), key)
        async with UdpTest(conversation, accept, phases, self.packet_bytes) as test:
            for way in self._ways():
                phases.metrics |= self._figures(way, await test.run(way))
                phases.metrics |= {"bytes_sent": test.bytes_sent, "bytes_received": test.bytes_received}

    def _figures(self, way: Direction, found: Mapping[str, float]) -> dict[str, float]:
        lost_here = found.get("dropped_here", 0.0) / found["packets"]
        metrics = {
            f"capacity_{way}_bits_per_second": float(round(found["rate"])),
            f"capacity_{way}_min_bits_per_second": float(round(found["low"])),
            f"capacity_{way}_max_bits_per_second": float(round(found["high"])),
            f"settled_{way}": found["settled"],
            f"loss_{way}_ratio": min(1.0, max(0.0, found["loss_ratio"] - lost_here)),
            f"queue_delay_{way}_seconds": found["queue_delay_seconds"],
        }
        share = found["rate"] / self.line_bits_per_second
        return {**metrics, f"capacity_{way}_ratio": share} if found["settled"] or share >= 1 else metrics

    async def _tcp(self, phases: Phases, conversation: Conversation, key: bytes | None) -> None:
        from checks.capacity_tcp import TcpTest  # noqa: PLC0415  (see above)

        accept = await conversation.agree(self._ask(), key)
        test = TcpTest(conversation, accept, phases, self.streams)
        phases.metrics["rtt_seconds"] = await test.idle_round_trip()
        names = {
            "throughput": "throughput_{}_bits_per_second",
            "efficiency": "tcp_efficiency_{}_ratio",
            "buffer_delay": "buffer_delay_{}_ratio",
            "round_trips_per_minute": "round_trips_{}_per_minute",
        }
        for way in self._ways():
            found = await test.run(way)
            phases.metrics |= {names[name].format(way): value for name, value in found.items()}
        phases.metrics |= {"bytes_sent": test.bytes_sent, "bytes_received": test.bytes_received}

    def _ask(self) -> Ask:
        from checks.capacity_wire import Ask  # noqa: PLC0415  (see above)

        return Ask(
            _NONCE, self.mode, self.direction, self.packet_bytes, self.max_bytes, self.max_seconds, ssid=self.ssid
        )

    def _ways(self) -> tuple[Direction, ...]:
        return ("up", "down") if self.direction == "both" else (self.direction,)

    def _key(self) -> bytes | None:
        try:
            return read_key(Path(self.key_file)) if self.key_file else None
        except ValueError as exc:
            raise CheckError(f"key_file: {exc}") from None

    async def _use(self, local: str) -> float | None:
        """Return the busier direction's share of the line's rate over half a second; None where nobody counts."""
        from checks.interfaces import counters, interface_of  # noqa: PLC0415  (see above)

        name = await asyncio.to_thread(interface_of, local)
        if name is None or name == "lo":
            return None
        before = counters(name)
        await asyncio.sleep(_LOOK_SECONDS)
        after = counters(name)
        if before is None or after is None:
            return None
        most = max(after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out)
        taken = max(1e-3, after.at - before.at)
        return min(1.0, max(0.0, most * 8 / taken / self.line_bits_per_second))


def _server(target: str) -> tuple[str, int]:
    """Return host and port; the port is 8620 where none is given."""
    has_port = target.rpartition("]")[2].count(":") == 1
    return split_host_port(target) if has_port else (split_host(target), PORT)
