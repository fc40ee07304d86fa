"""A session of test packets with one reflector: a train now, or packets for as long as somebody asks about them.

A continuous session sends on a steady beat and reads what came back only when it sends again: the kernel has stamped it
meanwhile, so nothing is lost by not looking, and an agent is woken half as often.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from checks import stamp_wire as wire
from checks.check import CheckError
from checks.packets import SECOND, Answer, Packet, Packets
from checks.stamp_figures import Attribution, Exchange, Jitter
from checks.timestamps import USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from checks.stamp_socket import Heard, StampSocket

MINUTE_PACKETS = 120
"""A minute's figures are of so many packets: a minute at the default of 2 a second."""

_MOST_FOLLOW_UPS = 1_000
_FOLLOW_UP_WITHIN_NS = SECOND
_CLOCKS_WITHIN_NS = 1_000_000
_HEARD_FOR_SECONDS = 10.0  # answers to packets older than this are not even counted as late


class Session:
    """Packets on their way to one reflector. Every packet is told of once, in the order sent, when it is settled."""

    def __init__(self, sock: StampSocket, *, interval_seconds: float, tmax_seconds: float) -> None:
        """Take the socket, the beat, and the time after which a packet is lost. `close` it in the end."""
        self.packets = Packets(tmax_seconds)
        self.attribution, self.jitter = Attribution(), Jitter()
        self.minute: deque[Exchange | None] = deque(maxlen=MINUTE_PACKETS)
        self.failure: CheckError | None = None
        self.source = USER
        self._since_minute = 0
        self._socket, self._interval_seconds = sock, interval_seconds
        self._tmax_ns = round(tmax_seconds * SECOND)
        self._replies: dict[int, wire.Reply] = {}
        self._refused: set[int] = set()
        self._departed: dict[int, int] = {}  # by the reflector's number: when that reply really left
        self._sent = self._told = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._silent_after: Callable[[], bool] = bool

    def close(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()

    async def train(self, count: int, ends_at: float = math.inf) -> None:
        """Send `count` packets and return when each has come back, was refused, or is lost; at `ends_at` at the latest.

        That is an instant of `perf_counter`: a process that was held up tells what it has rather than nothing.
        """
        began = time.perf_counter()
        for turn in range(count):
            await asyncio.sleep(max(0.0, began + turn * self._interval_seconds - time.perf_counter()))
            if time.perf_counter() > ends_at:
                break
            self.send()
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket.fileno(), woken.set)
        try:
            while (wait := min(self._wait_seconds(), ends_at - time.perf_counter())) > 0:
                woken.clear()
                try:
                    async with asyncio.timeout(wait):
                        await woken.wait()
                except TimeoutError:
                    break
                self.listen()
        finally:
            loop.remove_reader(self._socket.fileno())
        self.listen()

    def go_on(self, wanted: Callable[[], bool]) -> None:
        """Send on a steady beat for as long as `wanted` says so; close then."""
        self._silent_after = wanted
        self._due = asyncio.get_running_loop().time()
        self._beat()

    def _beat(self) -> None:
        if not self._silent_after():
            self.close()
            return
        loop = asyncio.get_running_loop()
        try:
            self.send()
        except CheckError as exc:
            self.failure = exc
            self.close()
            return
        except Exception as exc:  # noqa: BLE001  (a beat that dies unheard would be taken for a dead line)
            self.failure = CheckError(f"{type(exc).__name__}: {exc}")
            self.close()
            return
        self._due += self._interval_seconds * (1 + max(0, loop.time() - self._due) // self._interval_seconds)
        self._timer = loop.call_at(self._due, self._beat)

    def send(self) -> None:
        """Send the next packet, after taking in what has come back for those before."""
        self.listen()
        sequence, refusal = self._sent, None
        try:
            packet = self._socket.send(sequence)
        except OSError as exc:
            refusal = f"{(exc.strerror or 'not sent').lower()} (said by this machine)"
            packet = Packet(time.time_ns(), time.monotonic_ns(), 0)
        self._sent += 1
        self.packets.sent(sequence, packet)
        if refusal is None:
            self._note(self._socket.errors())
        else:
            self._note([(Answer(sequence, refusal=self.packets.refusal or refusal), None)])

    def listen(self) -> None:
        """Take in what has come back so far."""
        self._note(self._socket.read())

    def _note(self, heard: Iterable[Heard]) -> None:
        steps = self._socket.steps.look()
        for answer, reply in heard:
            settled = self.packets.note(answer, steps) and answer.sequence >= self._told
            if settled and reply is not None:
                self._replies[answer.sequence] = reply
                self._follow_up(reply)
            elif settled:
                self._refused.add(answer.sequence)

    def _follow_up(self, reply: wire.Reply) -> None:
        """Keep what a reply says of the one before it."""
        value = wire.answered_extensions(reply.extensions).get(wire.FOLLOW_UP)
        departed = wire.followed_up(value) if value is not None else None
        if departed is not None:
            self._departed[departed[0]] = departed[1]
            if len(self._departed) > _MOST_FOLLOW_UPS:
                del self._departed[next(iter(self._departed))]

    def _wait_seconds(self) -> float:
        """Return how long the youngest unsettled packet may still be waited for; 0 when all are settled."""
        waiting = [
            self.packets[each].left_here
            for each in range(self._told, self._sent)
            if each not in self._replies and each not in self._refused
        ]
        return max(0.0, (max(waiting) + self._tmax_ns - time.monotonic_ns()) / SECOND) if waiting else 0.0

    def settled(self) -> int:
        """Count the packets that are settled and not told of yet."""
        unsettled, now = self._told, time.monotonic_ns()
        while unsettled < self._sent and self._is_settled(unsettled, now):
            unsettled += 1
        return unsettled - self._told

    def _is_settled(self, sequence: int, now: int) -> bool:
        if now - self.packets[sequence].left_here > self._tmax_ns or sequence in self._refused:
            return True
        reply = self._replies.get(sequence)
        # When a reply left is told by the next one; a train that has ended has no next one to wait for.
        return reply is not None and (self._timer is None or reply.sequence in self._departed)

    def take(self) -> list[Exchange | None]:
        """Return what became of the packets that are settled and were not told of before; None for a lost one."""
        self.listen()
        stretch: list[Exchange | None] = []
        sources = []
        for sequence in range(self._told, self._told + self.settled()):
            packet, reply = self.packets[sequence], self._replies.pop(sequence, None)
            self._refused.discard(sequence)
            if reply is None or self.packets.is_late(packet):
                stretch.append(None)
                continue
            sources.append(packet.source)
            exchange = _exchange(packet, sequence, reply, self._departed.pop(reply.sequence, reply.left))
            self.attribution.take(exchange)
            stretch.append(exchange)
        self._told += len(stretch)
        self.minute.extend(stretch)
        self._since_minute += len(stretch)
        self.source = min(sources, default=self.source)
        self._forget()
        return stretch

    def take_minute(self) -> list[Exchange | None]:
        """Return the last `MINUTE_PACKETS` packets when as many were told of since this was last so, else nothing."""
        if self._since_minute < MINUTE_PACKETS:
            return []
        self._since_minute = 0
        return list(self.minute)

    def _forget(self) -> None:
        here = time.monotonic_ns() - max(self._tmax_ns, round(_HEARD_FOR_SECONDS * SECOND))
        for sequence in self.packets.forget_before(here, self._told):
            self._socket.forget(sequence)


def _exchange(packet: Packet, sequence: int, reply: wire.Reply, departed: int) -> Exchange:
    """Put the four instants together.

    A packet on its way while our clock was set has come back, but in no known time: the kernel stamps by that clock
    alone, and this process did not look when it came.
    """
    received = wire.instant(reply.received, reply.error_estimate, packet.left_at)
    left = wire.instant(departed, reply.error_estimate, packet.left_at)
    claimed = wire.instant(reply.left, reply.error_estimate, packet.left_at)
    if abs(left - claimed) > _FOLLOW_UP_WITHIN_NS:  # of another reply with the same number: the reflector began anew
        left = claimed
    errors = wire.clock_error(reply.error_estimate), wire.clock_error(reply.sender_error_estimate)
    known = [each for each in errors if each is not None]
    heard = wire.answered_extensions(reply.extensions).get(wire.CLASS_OF_SERVICE)
    whole = packet.round_trip_ns or 0
    there = left - received
    if not 0 <= there <= whole + _CLOCKS_WITHIN_NS:  # set in between, or made up: then its own time is not known
        there = 0
    return Exchange(
        sequence=sequence,
        number=reply.sequence,
        round_trip_ns=None if packet.bent else whole - there,
        forward_ns=None if packet.bent else received - packet.left_at,
        backward_ns=None if packet.bent else (packet.back_at or 0) - left,
        clock_error_seconds=sum(known) if len(known) == len(errors) and not packet.bent else None,
        ttl=reply.ttl,
        dscp=wire.heard_dscp(heard) if heard is not None else None,
        steps=packet.steps,
    )
