"""Send the probes of a traced route in their time, and gather for each hop who answered and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checks.check import CheckError
from checks.packets import SECOND, median
from checks.probe_socket import NO_ROUTE

if TYPE_CHECKING:
    from checks.packets import Packet
    from checks.route_socket import Answer, ProbeSocket


@dataclass(slots=True)
class Hop:
    """What is known of one hop: probes sent, the round trips of those answered (seconds), and by which addresses."""

    sent: int = 0
    round_trips: list[float] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def median(self) -> float:
        """Return the median round trip, seconds; of an even number the mean of the middle two."""
        return median(sorted(self.round_trips))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many probes, how far, how fast; a probe not answered after `patience_seconds` is lost."""

    probes: int
    max_hops: int
    interval_seconds: float
    patience_seconds: float
    one_at_a_time: bool
    """A server holds a half-open connection until it is reset, and meanwhile answers no other SYN of the same ports."""


class Trace:
    """One route on its way: every hop in a round, round after round, so that all hops are asked at nearly one time."""

    def __init__(self, sock: ProbeSocket, plan: Plan) -> None:
        """Take the socket and the plan."""
        self.hops: dict[int, Hop] = {}
        self.refusal: str | None = None
        self.reached_at: int | None = None
        self.packets_sent = 0
        self._refused_at: int | None = None
        self._socket, self._plan = sock, plan
        self._pending: dict[int, tuple[int, Packet]] = {}
        self._quiet = asyncio.Event()
        self._defect: Exception | None = None

    @property
    def last(self) -> int | None:
        """The hop beyond which nothing need be asked: the destination, or a router that refuses to pass packets on."""
        return self.reached_at or self._refused_at

    async def run(self) -> None:
        """Send everything, then wait for what is still on its way, but for none longer than the plan's patience."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._readable)
        try:
            for round_ in range(self._plan.probes):
                await self._send_round(round_)
                if self._plan.one_at_a_time:
                    await self._settle()
            await self._settle()
        finally:
            loop.remove_reader(self._socket.fileno())
        if self._defect:
            raise self._defect

    async def _send_round(self, round_: int) -> None:
        began = time.perf_counter()
        for hop in range(1, self._plan.max_hops + 1):
            pause = began + (hop - 1) * self._plan.interval_seconds - time.perf_counter()
            await asyncio.sleep(max(0.0, pause))
            if self.last is not None and hop > self.last:
                return
            self._send(round_ * self._plan.max_hops + hop, hop)

    def _send(self, number: int, hop: int) -> None:
        for attempt in (1, 2):
            try:
                packet = self._socket.send(number, hop)
            except OSError as exc:
                self._take_in()  # it may be the answer to an earlier probe: take that in, and try once more
                if attempt == 1:
                    continue
                if exc.errno not in NO_ROUTE:
                    raise CheckError(f"cannot send probes: {exc.strerror}") from None
                self.refusal = f"{(exc.strerror or 'not sent').lower()} (said by this machine)"
                return
            self._pending[number] = (hop, packet)
            self._quiet.clear()
            self.hops.setdefault(hop, Hop()).sent += 1
            self.packets_sent += 1
            return

    async def _settle(self) -> None:
        """Wait until each probe is answered, or nobody can answer in time any more."""
        if self._pending:
            newest = max(packet.left_here for _, packet in self._pending.values()) / SECOND
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, newest + self._plan.patience_seconds - time.monotonic())):
                    await self._quiet.wait()
            self._take_in()  # what came in time but was not read yet, because this process was busy
            self._pending.clear()

    def _readable(self) -> None:
        try:
            self._take_in()
        except Exception as exc:  # noqa: BLE001  (raised again by `run`: here the loop would call us for ever)
            self._defect = exc
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def _take_in(self) -> None:
        for answer in self._socket.read():
            hop, packet = self._pending.pop(answer.number, (0, None))
            if packet is None:
                continue
            packet.back_at, packet.back_here = answer.back_at, answer.back_here
            packet.bent = packet.steps != self._socket.steps.look()
            seconds = max(0, packet.round_trip_ns or 0) / SECOND
            if seconds <= self._plan.patience_seconds:
                self._count(answer, hop, seconds)
        if not self._pending:
            self._quiet.set()

    def _count(self, answer: Answer, hop: int, seconds: float) -> None:
        if answer.refusal is not None:
            self.refusal = f"{answer.refusal}, says {answer.address}"
            if answer.address == self._socket.source:  # the kernel here found no way to the first hop
                return
        known = self.hops[hop]
        known.round_trips.append(seconds)
        if answer.address not in known.addresses:
            known.addresses.append(answer.address)
        if answer.from_destination:
            self.reached_at = min(hop, self.reached_at or hop)
        elif answer.refusal is not None:
            self._refused_at = min(hop, self._refused_at or hop)
        self._forget_beyond()

    def _forget_beyond(self) -> None:
        """Stop waiting for probes that went farther than there is anything to find."""
        if self.last is not None:
            self._pending = {n: probe for n, probe in self._pending.items() if probe[0] <= self.last}
