"""STAMP: the line to a reflector, in both directions, by small test packets: now as a train, or all the time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks import stamp_wire as wire
from checks.address import UnresolvedError, literal, resolve, split_host, split_host_port
from checks.check import CheckError, Unreachable
from checks.clock_quality import stamp_error_estimate
from checks.packets import COUNTS_HELP
from checks.secret import read_key
from checks.stamp_figures import figures, one_way
from checks.stamp_session import Session
from checks.stamp_socket import StampSocket
from checks.timestamps import SOURCE_HELP

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.address import Address
    from checks.stamp_figures import Exchange

_SPARE_SECONDS = 0.25
_TTL = 255


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the test packets. One that is not back `packet_timeout_seconds` after it was sent is lost."""

    name: ClassVar[str] = "stamp"
    summary: ClassVar[str] = "delay, jitter and loss in both directions, by test packets to a reflector (RFC 8762)"
    target_help: ClassVar[str] = "a reflector: 10.92.0.1, [fd00::1]:862 or a name; `nhip reflector run` is one"
    metrics: ClassVar[Mapping[str, str]] = {
        "loss_ratio": "share of the packets that did not come back in time, 0 to 1",
        "packets_sent": "packets that were sent or refused on the way out, count",
        "packets_received": "packets that came back in time, count",
        "rtt_min_seconds": "shortest round trip, without the reflector's own time, seconds",
        "rtt_median_seconds": "median round trip, seconds",
        "rtt_mean_seconds": "mean round trip, seconds",
        "rtt_p95_seconds": "round trip that 95 % of the packets stay within (nearest rank), seconds",
        "rtt_max_seconds": "longest round trip, seconds",
        "ipdv_mean_seconds": "mean change of the round trip from packet to packet (RFC 3393), seconds",
        "ipdv_p95_seconds": "change of the round trip that 95 % stay within, seconds",
        "pdv_forward_p95_seconds": "to the reflector: 95 % are no more than this above the fastest (RFC 5481), seconds",
        "ipdv_forward_mean_seconds": "to the reflector: mean change of delay from packet to packet, seconds",
        "ipdv_forward_p95_seconds": "to the reflector: change of delay that 95 % stay within, seconds",
        "pdv_backward_p95_seconds": "back: 95 % are no more than this above the fastest, seconds",
        "ipdv_backward_mean_seconds": "back: mean change of delay from packet to packet, seconds",
        "ipdv_backward_p95_seconds": "back: change of delay that 95 % stay within, seconds",
        "jitter_forward_seconds": "to the reflector: interarrival jitter of RFC 3550, a running figure, seconds",
        "jitter_backward_seconds": "back: interarrival jitter of RFC 3550, seconds",
        "loss_forward_ratio": "share of the packets lost on the way to the reflector, 0 to 1; needs a stateful one",
        "loss_backward_ratio": "share of the reflector's answers lost on the way back, 0 to 1",
        "delay_forward_median_seconds": "one-way delay to the reflector, only where both clocks are good, seconds",
        "delay_backward_median_seconds": "one-way delay back, only where both clocks are good, seconds",
        "clock_error_seconds": "what both clocks together claim to be wrong by at most, seconds",
        "mos": "how a call would sound, 1 bad to 4.4: G.107, G.711 with PLC, random loss, half the round trip each way",
        "hops_forward": "routers on the way to the reflector, by the TTL that it saw, count",
        "dscp_forward": "class that the packets still had at the reflector; only with dscp",
        **COUNTS_HELP,
        "timestamp_source": SOURCE_HELP,
        "rtt_p95_seconds[minute]": "and others with [minute]: of the last 120 packets; only with continuous, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"loss_ratio": 1.0}

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="packets in the train, unless continuous")] = 20
    interval_seconds: Annotated[float, msgspec.Meta(ge=0.001, le=60, description="from packet to packet")] = 0.1
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60, description="after this a packet is lost")] = 1.0
    continuous: Annotated[
        bool, msgspec.Meta(description="in an agent: go on sending; each result is of what was settled since the last")
    ] = False
    idle_seconds: Annotated[
        float, msgspec.Meta(ge=1, le=7200, description="continuous: end when nobody asked, begin anew when all is lost")
    ] = 90.0
    key_file: Annotated[str | None, msgspec.Meta(description="file of the key for authenticated mode, as hex")] = None
    ssid: Annotated[int, msgspec.Meta(ge=0, le=65_535, description="session identifier (RFC 8972); 0: random")] = 0
    dscp: Annotated[int, msgspec.Meta(ge=0, le=63, description="class of service of the packets and their answers")] = 0
    padding_bytes: Annotated[int, msgspec.Meta(ge=0, le=1400, description="make the packets longer by so many")] = 0
    follow_up: Annotated[
        bool, msgspec.Meta(description="let the reflector tell when its replies left (RFC 8972); false: RFC 8762 alone")
    ] = True
    source: Annotated[str | None, msgspec.Meta(description="local address to send from")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    trust_clock: Annotated[
        bool, msgspec.Meta(description="take this node's clock for good to 0.1 ms, whatever the kernel says of it")
    ] = False
    max_clock_error_seconds: Annotated[
        float, msgspec.Meta(gt=0, le=1, description="one-way delays only if both clocks claim less error than this")
    ] = 0.001
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600, description="deadline of the whole check")] = 10.0

    def __post_init__(self) -> None:
        """Refuse a train that cannot end before its deadline, and a key that nobody could find."""
        least = self.longest_seconds + _SPARE_SECONDS
        if self.timeout_seconds < least:
            sending = "interval_seconds" if self.continuous else "(count - 1) x interval_seconds"
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds:g}) must be at least {least:g}"
                f": {sending} + packet_timeout_seconds + {_SPARE_SECONDS:g}"
            )
        if self.key_file is not None and not self.ssid:
            raise ValueError("key_file needs ssid: the reflector finds the key by it")

    @property
    def longest_seconds(self) -> float:
        """How long it takes until the last packet of a train, or the first of a session, is settled when it is lost."""
        turns = 1 if self.continuous else self.count - 1
        return turns * self.interval_seconds + self.packet_timeout_seconds

    async def measure(self, target: str) -> dict[str, float]:
        """Send test packets to `target`; see `metrics` for what comes back, `Unreachable` when nothing does."""
        if self.continuous:
            return await self._go_on(target)
        ends_at = time.perf_counter() + self.timeout_seconds - _SPARE_SECONDS / 2
        session = await self.open(target)
        try:
            await session.train(self.count, ends_at)
            return self._told(session)
        finally:
            session.close()

    async def _go_on(self, target: str) -> dict[str, float]:
        """Tell of the packets since the last time; begin if there was none, and end when nobody asks any more."""
        key = (asyncio.get_running_loop(), self, target)
        running = _running.get(key)
        if running is None or running.session.failure is not None:
            running = _running[key] = _Running(await self.open(target), functools.partial(_still_wanted, key))
            running.session.go_on(running.wanted)
        elif time.monotonic() - running.heard_at > self.idle_seconds:
            await self._anew(running, target)
        running.asked_at = time.monotonic()
        while not running.session.settled():
            if running.session.failure is not None:
                raise running.session.failure
            await asyncio.sleep(min(self.interval_seconds, self.packet_timeout_seconds))
            running.session.listen()
        metrics = self._told(running.session)
        running.heard_at = time.monotonic()
        return metrics

    async def _anew(self, running: _Running, target: str) -> None:
        """Begin anew where all has been lost for long: the way out, our address, or what the name means may be another.

        While that cannot be found out, because the resolver is behind the same line, the old session goes on.
        """
        with contextlib.suppress(CheckError, Unreachable):
            session = await self.open(target)
            running.session.close()
            running.session, running.heard_at = session, time.monotonic()
            session.go_on(running.wanted)

    async def open(self, target: str) -> Session:
        """Return a session with the reflector at `target`; the caller sends, and closes it."""
        address = await self._address(target)
        try:
            key = read_key(Path(self.key_file)) if self.key_file else None
        except ValueError as exc:
            raise CheckError(f"key_file: {exc}") from None
        try:
            sock = StampSocket(
                address,
                key=key,
                ssid=self.ssid or 1 + int.from_bytes(os.urandom(2), "big") % 65_535,
                dscp=self.dscp,
                padding_bytes=self.padding_bytes,
                follow_up=self.follow_up,
                source=self.source,
                clock_estimate=functools.partial(stamp_error_estimate, trust_clock=self.trust_clock),
            )
        except OSError as exc:
            raise Unreachable(f"{(exc.strerror or 'no route').lower()} (said by this machine)") from None
        return Session(sock, interval_seconds=self.interval_seconds, tmax_seconds=self.packet_timeout_seconds)

    async def _address(self, target: str) -> Address:
        bare = not (target.startswith("[") and "]:" in target) and target.count(":") != 1
        host, port = (split_host(target), wire.PORT) if bare else split_host_port(target)
        try:
            if known := literal(host, port, self.ip_version):
                return known[0]
            async with asyncio.timeout(self.timeout_seconds - self.longest_seconds - _SPARE_SECONDS / 2):
                return (await resolve(host, port, self.ip_version))[0]
        except UnresolvedError as exc:
            raise CheckError(f"no packet was sent: {exc}") from None
        except TimeoutError:
            raise CheckError(f"no packet was sent: the resolver of this node does not answer for {host}") from None

    def _told(self, session: Session) -> dict[str, float]:
        """Return the figures of what was settled; `Unreachable` where nothing of it came back."""
        stretch = session.take()
        answered = [each for each in stretch if each is not None]
        counts = session.packets.take_counts()
        metrics = {**figures(stretch), **session.attribution.figures(), **session.jitter.take(answered), **counts}
        if self.continuous:
            minute = figures(session.take_minute())
            metrics |= {f"{name}[minute]": value for name, value in minute.items()}
        if not answered:
            raise Unreachable(session.packets.refusal or self._silence(len(stretch)), metrics)
        session.packets.refusal = None
        metrics |= one_way(answered, self.max_clock_error_seconds) | _path(answered[-1])
        return {**metrics, "timestamp_source": float(session.source)}

    def _silence(self, sent: int) -> str:
        packets = "the packet was not" if sent == 1 else f"none of {sent} packets was"
        return f"{packets} answered within {self.packet_timeout_seconds:g} s"


class _Running:
    """A session that goes on, when somebody last asked about it, and when a packet last came back."""

    def __init__(self, session: Session, wanted: Callable[[], bool]) -> None:
        self.session, self.wanted = session, wanted
        self.asked_at = self.heard_at = time.monotonic()


_Key = tuple[asyncio.AbstractEventLoop, Stamp, str]
_running: dict[_Key, _Running] = {}


def _still_wanted(key: _Key) -> bool:
    """Tell whether a session is still asked about; one that an agent's new configuration dropped ends by itself."""
    if time.monotonic() - _running[key].asked_at < key[1].idle_seconds:
        return True
    del _running[key]
    return False


def _path(exchange: Exchange) -> dict[str, float]:
    metrics = {"hops_forward": float(_TTL - exchange.ttl)} if exchange.ttl else {}
    return metrics if exchange.dscp is None else {**metrics, "dscp_forward": float(exchange.dscp)}
