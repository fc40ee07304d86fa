"""The STAMP reflector itself (RFC 8762, 4.3): sockets in, sockets out, and not a byte more than came.

One process serves thousands of senders from one event loop. What costs nothing is done first: a packet that is too
short, too long, too frequent, unknown or forged is counted and dropped before anything is computed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agents.reflector.datagrams import marked, open_socket, read_control
from agents.reflector.sessions import Key, Sessions
from checks import stamp_wire as wire
from checks.timestamps import DEPARTURE, error_queue, received_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agents.reflector.sessions import Session
    from checks.address import Address

_PACKETS_AT_ONCE = 128
_LONGEST_PACKET = 2048
_ANCILLARY_BYTES = 256
_SSID_PLAIN, _SSID_AUTHENTICATED = slice(14, 16), slice(26, 28)
_SECOND = 1_000_000_000
_MOST_SOURCES = 50_000
_MOST_LEAVING = 64
_LOWEST_PORT = 1024  # no sender sends from below: an answer there would go to a name server, a clock, a reflector
_LONGEST_LAG_NS, _LAG_FALLS, _LAG_RISES = 200_000, 2, 32
_DSCP_BITS = 0xFC


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reflector takes from one source, packets a second and at once, and how much it remembers."""

    packets_per_second: float = 200.0
    burst: int = 400
    sessions: int = 20_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: int


class _Leaving(NamedTuple):
    """A reply that was sent, of whose departure the kernel has not told yet."""

    session: Session
    number: int
    left_here: int


class _Channel(NamedTuple):
    """Where a packet came in and from whom, with which key, and what the kernel said of it."""

    sock: socket.socket
    source: tuple[str, int]
    key: bytes | None
    ancillary: list[tuple[int, int, bytes]]


class StampReflector:
    """Answers test packets on any number of addresses. With keys it answers only who proves to hold one.

    `keys` gives the key of each SSID; None reflects for everybody, without proof. `clock_estimate` returns the error
    estimate of this machine's clock as RFC 4656 writes it.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        keys: Mapping[int, bytes] | None,
        limits: Limits,
        clock_estimate: Callable[[], int],
    ) -> None:
        """Bind every address; `ListenError` where one cannot be."""
        self.keys = keys
        self.sessions = Sessions(limits.sessions)
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._clock_estimate = clock_estimate
        self._estimate = clock_estimate()
        self._lag_ns = 0
        self._buckets: OrderedDict[str | int, _Bucket] = OrderedDict()
        self._leaving: dict[bytes, _Leaving] = {}
        self._sockets: list[socket.socket] = []
        try:
            for family, where in addresses:
                self._sockets.append(open_socket(family, where))
        except BaseException:
            self.close()
            raise
        self._own_ports = set(self.ports)

    @property
    def ports(self) -> list[int]:
        """The UDP ports that are bound, in the order of the addresses."""
        return [sock.getsockname()[1] for sock in self._sockets]

    def start(self) -> None:
        """Begin to answer, on the running event loop."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._readable, sock)

    def close(self) -> None:
        """Stop and free the ports."""
        for sock in self._sockets:
            with contextlib.suppress(RuntimeError, ValueError):
                asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def refresh(self) -> None:
        """Look again at how good our clock is; call it now and then."""
        self._estimate = self._clock_estimate()

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                data, ancillary, flags, source = sock.recvmsg(_LONGEST_PACKET, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                self._departed(sock)  # a stamp that came late wakes us too, and would for ever if it were not taken
                return
            except OSError:  # what an earlier reply met on its way: nothing to do with the next packet
                continue
            self.counts["received"] += 1
            if flags & socket.MSG_TRUNC:
                self.counts["refused_long"] += 1
                continue
            self._answer(sock, data, ancillary, source)

    def _answer(
        self, sock: socket.socket, data: bytes, ancillary: list[tuple[int, int, bytes]], source: tuple[str, int]
    ) -> None:
        stamp, here = received_at(ancillary) or time.time_ns(), time.monotonic_ns()
        host, port = source[0], source[1]
        if port < _LOWEST_PORT or port in self._own_ports:
            self.counts["refused_port"] += 1
            return
        key = None if self.keys is None else self.keys.get(int.from_bytes(data[_SSID_AUTHENTICATED], "big"))
        request = self._proven(data, key, here) if self.keys is not None else self._open_to_all(data, host, here)
        if request is None:
            return
        left = wire.instant(request.stamp, request.error_estimate, stamp)
        strict = key is not None
        session_key = Key(host, port, request.ssid)
        number = self.sessions.hear(session_key, request.sequence, left, now=stamp, here=here, strict=strict)
        if number is None:
            self.counts["refused_replay_or_flood"] += 1
            return
        self._send(_Channel(sock, source, key, ancillary), request, number, stamp)

    def _proven(self, data: bytes, key: bytes | None, here: int) -> wire.Request | None:
        """Read a packet that must prove who sent it; only then does it use up what its sender is allowed."""
        if key is None:
            self.counts["refused_short" if len(data) < wire.AUTHENTICATED_BYTES else "refused_stranger"] += 1
            return None
        try:
            request = wire.decode_request(data, key)
        except wire.WireError:
            self.counts["refused_short" if len(data) < wire.AUTHENTICATED_BYTES else "refused_forged"] += 1
            return None
        return request if self._admit(request.ssid, here) else None

    def _open_to_all(self, data: bytes, host: str, here: int) -> wire.Request | None:
        if not self._admit(host, here):
            return None
        try:
            return wire.decode_request(data)
        except wire.WireError:
            self.counts["refused_short"] += 1
            return None

    def _send(self, channel: _Channel, request: wire.Request, number: int, stamp: int) -> None:
        sock, host, port = channel.sock, channel.source[0], channel.source[1]
        ttl, heard, control = read_control(channel.ancillary)
        session = self.sessions[Key(host, port, request.ssid)]
        extensions, reply_class, wants_follow_up = request.extensions, heard & _DSCP_BITS, False
        if extensions:
            extensions, reply_class, wants_follow_up = _extend(request, heard, channel.key, session, number)
        if reply_class:
            control.append(marked(sock.family, reply_class))
        if wants_follow_up:
            control.append(DEPARTURE)
        left_here = time.time_ns()
        left = wire.ntp_stamp(left_here + self._lag_ns)
        reply = wire.Reply(
            *(number & 0xFFFFFFFF, left, self._estimate, request.ssid, wire.ntp_stamp(stamp)),
            *(request.sequence, request.stamp, request.error_estimate, ttl, extensions),
        )
        data = wire.encode_reply(reply, channel.key)
        try:
            sock.sendmsg((data,), control, 0, channel.source)
        except OSError:  # no route back, a full buffer: the sender counts it as lost, which it is
            self.counts["unsent"] += 1
            return
        self.counts["reflected"] += 1
        if wants_follow_up:
            if len(self._leaving) >= _MOST_LEAVING:
                del self._leaving[next(iter(self._leaving))]
            self._leaving[data] = _Leaving(session, number, left_here)
            self._departed(sock)

    def _departed(self, sock: socket.socket) -> None:
        """Take what the kernel tells of when replies really left: for their senders' next packets, and our next guess.

        What this process takes from reading the clock to the card would otherwise stand in every round trip. Most
        cards tell at once; a reply that waits in a queue is told of when it has left that.
        """
        for looped in error_queue(sock):
            data = next((each for each in self._leaving if looped.data.endswith(each)), None)
            if looped.sent_at is None or data is None:
                continue
            session, number, left_here = self._leaving.pop(data)
            session.departed = (number & 0xFFFFFFFF, wire.ntp_stamp(looped.sent_at))
            self._lag_ns = next_guess(self._lag_ns, looped.sent_at - left_here)

    def _admit(self, who: str | int, here: int) -> bool:
        """Take a token from the bucket of an address, or of a sender that proved who it is; count it if there is none.

        The one not heard for longest loses its bucket when there are too many: it would be full.
        """
        bucket = self._buckets.get(who)
        if bucket is None:
            if len(self._buckets) >= _MOST_SOURCES:
                self._buckets.popitem(last=False)
            bucket = self._buckets[who] = _Bucket(float(self._limits.burst), here)
        else:
            gained = (here - bucket.filled_at) * self._limits.packets_per_second / _SECOND
            bucket.tokens = min(float(self._limits.burst), bucket.tokens + gained)
            bucket.filled_at = here
            self._buckets.move_to_end(who)
        if bucket.tokens < 1:
            self.counts["refused_rate"] += 1
            return False
        bucket.tokens -= 1
        return True


def next_guess(before: int, lag: int) -> int:
    """Return how long the next reply will take from our clock to the card, nanoseconds, after one that took `lag`.

    It falls fast and rises slowly, so that it is rather too small: a reply that seems to leave later than it does would
    make a round trip of nothing.
    """
    lag = min(max(0, lag), _LONGEST_LAG_NS)
    return before + (lag - before) // (_LAG_FALLS if lag < before else _LAG_RISES)


def _extend(
    request: wire.Request, heard: int, key: bytes | None, session: Session, number: int
) -> tuple[bytes, int, bool]:
    """Fill in the extensions; return them, the traffic class wanted for the reply, and whether to watch it leave.

    Class of Service (RFC 8972, 4.4): DSCP1 is what we are asked to send with, DSCP2 and ECN are what arrived. Follow-Up
    Telemetry (4.7): when the reply before this one really left, by the kernel.
    """
    inner, after = request.extensions, b""
    if key is not None:
        opened = wire.opened_extensions(inner, key, request.sequence)
        if opened is None:
            return wire.reflect_extensions(inner, {}, refused=True), heard & _DSCP_BITS, False
        inner, after = opened
    reply_class = heard & _DSCP_BITS
    values = {}
    for _, kind, value in wire.extensions(inner):
        if kind == wire.CLASS_OF_SERVICE and len(value) == wire.CLASS_OF_SERVICE_BYTES:
            reply_class = value[0] & _DSCP_BITS
            values[kind] = wire.class_of_service(wanted=reply_class >> 2, heard=heard)
        elif kind == wire.FOLLOW_UP and len(value) == wire.FOLLOW_UP_BYTES:
            values[kind] = wire.follow_up(*session.departed)
    filled = wire.reflect_extensions(inner, values)
    if key is not None:
        filled = wire.seal_extensions(filled, key, number, flags=0) + wire.reflect_extensions(after, {})
    return filled, reply_class, wire.FOLLOW_UP in values
