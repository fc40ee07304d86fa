"""The Session-Sender's socket (RFC 8762, 4.2): one reflector, kernel timestamps, what routers say of our packets."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Self

from checks import stamp_wire as wire
from checks.check import CheckError
from checks.packets import Answer, Packet
from checks.refusals import refusal_words
from checks.timestamps import RECEIVE, Steps, error_queue, received_at, switch_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.address import Address

_TTL = 255  # as RFC 8762, 4.2 asks: what is left of it at the reflector tells the hops
_READS_AT_ONCE = 256
_LONGEST_PACKET = 65_536
_ANCILLARY_BYTES = 128
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ECONNREFUSED, errno.ENOBUFS}
_PLAIN_STAMP, _AUTHENTICATED_STAMP = slice(4, 12), slice(16, 24)

Heard = tuple[Answer, "wire.Reply | None"]


class StampSocket:
    """Sends test packets to one reflector and hands out what comes back for them, and only for them."""

    def __init__(
        self,
        address: Address,
        *,
        key: bytes | None,
        ssid: int,
        dscp: int,
        padding_bytes: int,
        follow_up: bool,
        source: str | None,
        clock_estimate: int,
    ) -> None:
        """Open the socket; `CheckError` says what this machine lacks, `OSError` is no route."""
        family, where = address
        self.steps = Steps()
        self._key, self._ssid, self._estimate = key, ssid, clock_estimate
        self._extensions = _extensions(dscp, padding_bytes, key, follow_up=follow_up)
        self._stamps: dict[int, int] = {}
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._prepare(family, where, dscp, source)
        except BaseException:
            self._socket.close()
            raise
        self._stamp_slice = _PLAIN_STAMP if key is None else _AUTHENTICATED_STAMP

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """Let the event loop wait for it."""
        return self._socket.fileno()

    def send(self, sequence: int) -> Packet:
        """Send one test packet and return when it left, as this process saw it; `errors` has the kernel's own word.

        Raises `OSError` where there is no route, `CheckError` where this machine does not let us send.
        """
        steps, left_here, left_at = self.steps.look(), time.monotonic_ns(), time.time_ns()
        stamp = wire.ntp_stamp(left_at)
        request = wire.Request(sequence & 0xFFFFFFFF, stamp, self._estimate, self._ssid, self._extensions)
        try:
            self._socket.send(wire.encode_request(request, self._key))
        except BlockingIOError:
            raise OSError(errno.ENOBUFS, "the send buffer is full") from None
        except PermissionError:
            raise CheckError("this machine's own firewall does not let STAMP out") from None
        except OSError as exc:
            if exc.errno not in _NO_ROUTE:
                raise CheckError(f"cannot send STAMP: {exc.strerror}") from None
            raise
        self._stamps[sequence] = stamp
        return Packet(left_at, left_here, steps, min(self._source, RECEIVE))

    def forget(self, sequence: int) -> None:
        """Listen no more for what comes back for a packet."""
        self._stamps.pop(sequence, None)

    def errors(self) -> Iterator[Heard]:
        """Hand out what the kernel says of our own packets: when they left, or that and by whom they were refused."""
        for looped in error_queue(self._socket):
            packet = looped.data[-self._packet_bytes :]  # headers stand before it when it is a stamp
            sequence = int.from_bytes(packet[:4], "big")
            if looped.refusal is not None and sequence in self._stamps:
                yield Answer(sequence, refusal=refusal_words(looped.refusal)), None
            elif looped.sent_at is not None and self._is_ours(sequence, packet):
                yield Answer(sequence, left_at=looped.sent_at), None

    def read(self) -> Iterator[Heard]:
        """Hand out what has come back so far, without waiting."""
        yield from self.errors()
        for _ in range(_READS_AT_ONCE):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_LONGEST_PACKET, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:  # a refusal waits in the error queue; reading tells only its number
                yield from self.errors()
                continue
            heard = self._heard(data, ancillary)
            if heard is not None:
                yield heard

    def _heard(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> Heard | None:
        here, stamp = time.monotonic_ns(), received_at(ancillary)
        try:
            reply = wire.decode_reply(data, self._key)
        except wire.WireError:
            return self._damaged(data)
        if self._stamps.get(reply.sender_sequence) != reply.sender_stamp:
            return None  # to a packet that was forgotten, or that we never sent
        return Answer(reply.sender_sequence, stamp or time.time_ns(), here, by_kernel=stamp is not None), reply

    def _damaged(self, data: bytes) -> Heard | None:
        """Count a packet that is no good reply against one of ours, as far as it says which."""
        at = 24 if self._key is None else 48
        sequence = int.from_bytes(data[at : at + 4], "big")
        return (Answer(sequence, corrupted=True), None) if sequence in self._stamps else None

    def _is_ours(self, sequence: int, packet: bytes) -> bool:
        """Match a stamp to its packet by the packet's own bytes: one given to another is a whole interval off."""
        stamp = self._stamps.get(sequence)
        return stamp is not None and packet[self._stamp_slice] == stamp.to_bytes(8, "big")

    @property
    def _packet_bytes(self) -> int:
        return (wire.PLAIN_BYTES if self._key is None else wire.AUTHENTICATED_BYTES) + len(self._extensions)

    def _prepare(self, family: socket.AddressFamily, where: tuple[object, ...], dscp: int, source: str | None) -> None:
        sock = self._socket
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        if family == socket.AF_INET6:
            level, errors, ttl, traffic_class = socket.IPPROTO_IPV6, _IPV6_RECVERR, socket.IPV6_UNICAST_HOPS, 67
        else:
            level, errors, ttl, traffic_class = socket.IPPROTO_IP, _IP_RECVERR, socket.IP_TTL, socket.IP_TOS
        sock.setsockopt(level, errors, 1)
        sock.setsockopt(level, ttl, _TTL)
        if dscp:
            sock.setsockopt(level, traffic_class, dscp << 2)
        self._source = switch_on(sock)
        if source:
            try:
                sock.bind((source, 0))
            except OSError as exc:
                words = exc.strerror or "not an address of the target's family"
                raise CheckError(f"cannot send from source {source}: {words}") from None
        try:
            sock.connect(where)
        except PermissionError:
            raise CheckError("this machine refuses to send there: a broadcast address, or a prohibited route") from None


def _extensions(dscp: int, padding_bytes: int, key: bytes | None, *, follow_up: bool) -> bytes:
    """Ask the reflector for what the parameters need (RFC 8972), and seal it where there is a key."""
    data = b""
    if dscp:
        data += wire.extension(wire.CLASS_OF_SERVICE, wire.class_of_service(wanted=dscp))
    if follow_up:
        data += wire.extension(wire.FOLLOW_UP, bytes(wire.FOLLOW_UP_BYTES))
    if padding_bytes:
        data += wire.extension(wire.EXTRA_PADDING, bytes(padding_bytes))
    return wire.seal_extensions(data, key) if data and key is not None else data
