"""ICMP echo: a train of packets, and what the round trips and losses in it say about the path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import UnresolvedError, literal, resolve, split_host
from checks.check import CheckError, Unreachable
from checks.icmp_socket import COOKIE_BYTES, EchoSocket
from checks.packets import COUNTS_HELP, Answer, Packet, Packets, delay_figures
from checks.timestamps import SOURCE_HELP, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPARE_SECONDS = 0.25


class IcmpEcho(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a train. A packet that is not back `packet_timeout_seconds` after it was sent is lost."""

    name: ClassVar[str] = "icmp_echo"
    summary: ClassVar[str] = "round trip, its variation and packet loss, by a train of ICMP echo packets"
    target_help: ClassVar[str] = "a host: 10.92.0.1, fd00::1 or a name"
    metrics: ClassVar[Mapping[str, str]] = {
        "rtt_min_seconds": "shortest round trip, seconds",
        "rtt_median_seconds": "median round trip, seconds",
        "rtt_mean_seconds": "mean round trip, seconds",
        "rtt_p95_seconds": "round trip that 95 % of the answered packets stay within (nearest rank), seconds",
        "rtt_max_seconds": "longest round trip, seconds",
        "ipdv_mean_seconds": "mean change of the round trip between consecutive answered packets (RFC 3393), seconds",
        "ipdv_p95_seconds": "change that 95 % of the consecutive packets stay within (nearest rank), seconds",
        "loss_ratio": "share of the sent packets that did not come back in time, 0 to 1",
        "packets_sent": "packets that were sent or refused on the way out, count",
        "packets_received": "packets answered in time, count",
        **COUNTS_HELP,
        "timestamp_source": SOURCE_HELP,
    }
    unreachable: ClassVar[Mapping[str, float]] = {"loss_ratio": 1.0}

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="packets in the train")] = 5
    interval_seconds: Annotated[float, msgspec.Meta(ge=0.001, le=60, description="from packet to packet")] = 0.2
    payload_bytes: Annotated[int, msgspec.Meta(ge=COOKIE_BYTES, le=65_000, description="bytes after the header")] = 56
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60, description="after this a packet is lost")] = 1.0
    source: Annotated[str | None, msgspec.Meta(description="local address to send from")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600, description="deadline of the whole check")] = 10.0

    def __post_init__(self) -> None:
        """Refuse a train that cannot end before its deadline."""
        if self.timeout_seconds < self.longest_seconds + _SPARE_SECONDS:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds:g}) must be at least {self.longest_seconds + _SPARE_SECONDS:g}"
                f": (count - 1) x interval_seconds + packet_timeout_seconds + {_SPARE_SECONDS:g}"
            )

    @property
    def longest_seconds(self) -> float:
        """How long the train takes when its last packet is lost."""
        return (self.count - 1) * self.interval_seconds + self.packet_timeout_seconds

    async def measure(self, target: str) -> dict[str, float]:
        """Send the train to `target`; see `metrics` for what comes back, `Unreachable` when nothing does."""
        host = split_host(target)
        ends_at = time.perf_counter() + self.timeout_seconds - _SPARE_SECONDS / 2
        try:
            addresses = literal(host, 0, self.ip_version)
            if not addresses:
                async with asyncio.timeout(ends_at - time.perf_counter() - self.longest_seconds):
                    addresses = await resolve(host, 0, self.ip_version)
        except UnresolvedError as exc:
            raise CheckError(f"no packet was sent: {exc}") from None
        except TimeoutError:
            raise CheckError(f"no packet was sent: the resolver of this node does not answer for {host}") from None
        try:
            socket = EchoSocket(addresses[0], self.source, self.payload_bytes)
        except OSError as exc:
            raise Unreachable(_said_here(exc), summary([])) from None
        with socket as echo:
            train = Train(echo, self, ends_at)
            await train.run()
        metrics = {**summary(train.packets.round_trips()), **train.packets.take_counts()}
        if not metrics["packets_received"]:
            raise Unreachable(train.packets.refusal or self._silence(), metrics)
        return {**metrics, "timestamp_source": float(train.packets.source() or USER)}

    def _silence(self) -> str:
        packets = "the packet was" if self.count == 1 else f"none of {self.count} packets was"
        return f"{packets} {'not ' if self.count == 1 else ''}answered within {self.packet_timeout_seconds:g} s"


class Train:
    """One train on its way: paced out, matched on its return, over when each packet is answered, refused or late."""

    def __init__(self, echo: EchoSocket, plan: IcmpEcho, ends_at: float) -> None:
        """Take the socket, the plan, and the instant (`perf_counter`) at which the train ends whatever happens."""
        self._defect: Exception | None = None
        self.packets = Packets(plan.packet_timeout_seconds)
        self._echo, self._plan, self._ends_at = echo, plan, ends_at
        self._pending: set[int] = set()
        self._settled: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Send every packet in its time, then wait for the rest, but for none longer than its own timeout."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._echo.fileno(), self._readable)
        try:
            await self._send_all()
            await self._wait_until(min(time.perf_counter() + self._plan.packet_timeout_seconds, self._ends_at))
        finally:
            loop.remove_reader(self._echo.fileno())
        if self._defect:
            raise self._defect

    async def _send_all(self) -> None:
        began = time.perf_counter()
        for sequence in range(self._plan.count):
            pause = began + sequence * self._plan.interval_seconds - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            if time.perf_counter() > self._ends_at:
                return
            self._send(sequence)

    def _send(self, sequence: int) -> None:
        self._pending.add(sequence)
        try:
            packet = self._echo.send(sequence)
        except OSError as exc:
            self.packets.sent(sequence, Packet(time.time_ns(), time.monotonic_ns(), 0))
            self.packets.note(Answer(sequence, refusal=_said_here(exc)), 0)
            self._settle(sequence)
            return
        self.packets.sent(sequence, packet)
        self._note(self._echo.errors())  # most cards stamp at once: to be woken for it would cost ten times as much

    def _readable(self) -> None:
        try:
            self._take_in()
        except Exception as exc:  # noqa: BLE001  (raised again by `run`: here the loop would call us for ever)
            self._defect = exc
            asyncio.get_running_loop().remove_reader(self._echo.fileno())

    def _take_in(self) -> None:
        self._note(self._echo.read())

    def _note(self, answers: Iterable[Answer]) -> None:
        steps = self._echo.steps.look()
        for answer in answers:
            if self.packets.note(answer, steps):
                self._settle(answer.sequence)

    def _settle(self, sequence: int) -> None:
        self._pending.discard(sequence)
        if not self._pending:
            self._end_wait()

    async def _wait_until(self, instant: float) -> None:
        if not self._pending:
            return
        loop = asyncio.get_running_loop()
        self._settled = loop.create_future()
        timer = loop.call_later(max(0.0, instant - time.perf_counter()), self._end_wait)
        try:
            await self._settled
        finally:
            timer.cancel()
        if self._pending:
            self._take_in()  # what came in time but was not read yet, because this process was busy

    def _end_wait(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)


def _said_here(exc: OSError) -> str:
    return f"{(exc.strerror or 'not sent').lower()} (said by this machine)"


def summary(round_trips: Sequence[float | None]) -> dict[str, float]:
    """Describe a train: round trips in seconds in the order sent, None for a lost packet."""
    received = sum(each is not None for each in round_trips)
    return {
        **delay_figures(round_trips),
        "loss_ratio": 1 - received / len(round_trips) if round_trips else 1.0,
        "packets_sent": float(len(round_trips)),
        "packets_received": float(received),
    }
