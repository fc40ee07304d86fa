"""The STAMP reflector itself (RFC 8762, 4.3): sockets in, sockets out, and not a byte more than came.

One process serves thousands of senders from one event loop. What costs nothing is done first: a packet that is too
short, too long, too frequent, unknown or forged is counted and dropped before anything is computed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agents.reflector.sessions import Key, Sessions
from checks import stamp_wire as wire
from checks.timestamps import DEPARTURE, error_queue, received_at, switch_on_receive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agents.reflector.sessions import Session
    from checks.address import Address

_PACKETS_AT_ONCE = 128
_LONGEST_PACKET = 2048
_ANCILLARY_BYTES = 256
_RECEIVE_BUFFER_BYTES = 4 * 2**20
_SSID_PLAIN, _SSID_AUTHENTICATED = slice(14, 16), slice(26, 28)
_SECOND = 1_000_000_000
_MOST_SOURCES = 50_000
_LONGEST_LAG_NS, _LAG_SMOOTHING = 200_000, 8

_V4 = socket.IPPROTO_IP
_V6 = socket.IPPROTO_IPV6
_IP_TOS, _IP_TTL, _IP_PKTINFO, _IP_RECVTTL, _IP_RECVTOS = 1, 2, 8, 12, 13
_V6_RECVPKTINFO, _V6_PKTINFO, _V6_RECVHOPLIMIT, _V6_HOPLIMIT, _V6_RECVTCLASS, _V6_TCLASS = 49, 50, 51, 52, 66, 67
_INT = struct.Struct("=i")


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
        """Bind every address; `OSError` where one cannot be."""
        self.keys = keys
        self.sessions = Sessions(limits.sessions)
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._clock_estimate = clock_estimate
        self._estimate = clock_estimate()
        self._lag_ns = 0
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._sockets: list[socket.socket] = []
        try:
            for family, where in addresses:
                self._sockets.append(_open(family, where))
        except BaseException:
            self.close()
            raise

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
        stamp = received_at(ancillary) or time.time_ns()
        host, port = source[0], source[1]
        if not self._admit(host, stamp):
            self.counts["refused_rate"] += 1
            return
        keys = self.keys
        key = None
        if keys is not None:
            key = keys.get(int.from_bytes(data[_SSID_AUTHENTICATED], "big"))
            if key is None:
                self.counts["refused_short" if len(data) < wire.AUTHENTICATED_BYTES else "refused_stranger"] += 1
                return
        try:
            request = wire.decode_request(data, key)
        except wire.WireError:
            self.counts["refused_short" if key is None else "refused_forged"] += 1
            return
        left = wire.instant(request.stamp, request.error_estimate, stamp)
        strict = key is not None
        number = self.sessions.hear(Key(host, port, request.ssid), request.sequence, left, stamp, strict=strict)
        if number is None:
            self.counts["refused_replay_or_flood"] += 1
            return
        self._send(_Channel(sock, source, key, ancillary), request, number, stamp)

    def _send(self, channel: _Channel, request: wire.Request, number: int, stamp: int) -> None:
        sock, host, port = channel.sock, channel.source[0], channel.source[1]
        ttl, traffic_class, control = _heard(channel.ancillary)
        session = self.sessions[Key(host, port, request.ssid)]
        extensions, wants_follow_up = request.extensions, False
        if extensions:
            extensions, traffic_class, wants_follow_up = _extend(extensions, traffic_class, channel.key, session)
        if traffic_class:
            level, kind = (_V6, _V6_TCLASS) if sock.family == socket.AF_INET6 else (_V4, _IP_TOS)
            control.append((level, kind, _INT.pack(traffic_class)))
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
            self._departed(sock, data, session, number, left_here)

    def _departed(self, sock: socket.socket, data: bytes, session: Session, number: int, left_here: int) -> None:
        """Ask the kernel when a reply really left: for the sender's next packet, and for our own next guess.

        What this process takes from reading the clock to the card would otherwise stand in every round trip.
        """
        for looped in error_queue(sock):
            if looped.sent_at is not None and looped.data.endswith(data):
                session.departed = (number & 0xFFFFFFFF, wire.ntp_stamp(looped.sent_at))
                lag = min(max(0, looped.sent_at - left_here), _LONGEST_LAG_NS)
                self._lag_ns += (lag - self._lag_ns) // _LAG_SMOOTHING

    def _admit(self, host: str, now: int) -> bool:
        """Take a token from the source's bucket. A source not heard for long may lose its bucket: it would be full."""
        bucket = self._buckets.get(host)
        if bucket is None:
            if len(self._buckets) >= _MOST_SOURCES:
                self._buckets.popitem(last=False)
            bucket = self._buckets[host] = _Bucket(float(self._limits.burst), now)
        else:
            gained = max(0, now - bucket.filled_at) * self._limits.packets_per_second / _SECOND
            bucket.tokens = min(float(self._limits.burst), bucket.tokens + gained)
            bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _heard(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int, list[tuple[int, int, bytes]]]:
    """Return the packet's TTL, its traffic class, and what makes the reply leave from the address it came to."""
    ttl = traffic_class = 0
    control: list[tuple[int, int, bytes]] = []
    for level, kind, data in ancillary:
        if (level, kind) in ((_V4, _IP_TTL), (_V6, _V6_HOPLIMIT)):
            ttl = _INT.unpack(data)[0]
        elif (level, kind) == (_V4, _IP_TOS):
            traffic_class = data[0]
        elif (level, kind) == (_V6, _V6_TCLASS):
            traffic_class = _INT.unpack(data)[0]
        elif (level, kind) == (_V4, _IP_PKTINFO):
            control.append((level, kind, b"\0\0\0\0" + data[4:]))  # any interface: routing decides
        elif (level, kind) == (_V6, _V6_PKTINFO):
            control.append((level, kind, data))
    return ttl, traffic_class, control


def _extend(extensions: bytes, traffic_class: int, key: bytes | None, session: Session) -> tuple[bytes, int, bool]:
    """Fill in the extensions; return them, the traffic class wanted for the reply, and whether to watch it leave.

    Class of Service (RFC 8972, 4.4): DSCP1 is what we are asked to send with, DSCP2 and ECN are what arrived. Follow-Up
    Telemetry (4.7): when the reply before this one really left, by the kernel.
    """
    inner = extensions if key is None else wire.opened_extensions(extensions, key)
    if inner is None:
        return wire.reflect_extensions(extensions, {}, refused=True), traffic_class, False
    reply_class = traffic_class & ~3
    values = {}
    for _, kind, value in wire.extensions(inner):
        if kind == wire.CLASS_OF_SERVICE and len(value) == wire.CLASS_OF_SERVICE_BYTES:
            reply_class = value[0] & 0xFC
            values[kind] = wire.class_of_service(wanted=reply_class >> 2, heard=traffic_class)
        elif kind == wire.FOLLOW_UP and len(value) == wire.FOLLOW_UP_BYTES:
            values[kind] = wire.follow_up(*session.departed)
    filled = wire.reflect_extensions(inner, values)
    sealed = filled if key is None else wire.seal_extensions(filled, key, flags=0)
    return sealed, reply_class, wire.FOLLOW_UP in values


def _open(family: socket.AddressFamily, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        if family == socket.AF_INET6:
            sock.setsockopt(_V6, socket.IPV6_V6ONLY, 1)
            options = [(_V6, _V6_RECVHOPLIMIT), (_V6, _V6_RECVTCLASS), (_V6, _V6_RECVPKTINFO)]
        else:
            options = [(_V4, _IP_RECVTTL), (_V4, _IP_RECVTOS), (_V4, _IP_PKTINFO)]
        for level, option in options:
            sock.setsockopt(level, option, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        switch_on_receive(sock)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock
