"""The Session-Sender's socket (RFC 8762, 4.2): one reflector, kernel timestamps, what routers say of our packets."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Self

from checks import stamp_wire as wire
from checks.check import CheckError
from checks.packets import Answer, Packet
from checks.probe_socket import aim, bind_to, make_ready, send
from checks.refusals import refusal_words
from checks.timestamps import RECEIVE, Steps, error_queue, received_at, switch_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checks.address import Address

_TTL = 255  # as RFC 8762, 4.2 asks: what is left of it at the reflector tells the hops
_READS_AT_ONCE = 256
_LONGEST_PACKET = 65_536
_ANCILLARY_BYTES = 128
_IPV6_TCLASS = 67
_PLAIN_STAMP, _AUTHENTICATED_STAMP = slice(4, 12), slice(16, 24)
_SEQUENCE_BYTES = 4
_ESTIMATE_NS = 16_000_000_000  # how long what the kernel said of the clock is taken to be true

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
        clock_estimate: Callable[[], int],
    ) -> None:
        """Open the socket; `CheckError` says what this machine lacks, `OSError` is no route.

        `clock_estimate` returns the error estimate of this machine's clock as RFC 4656 writes it.
        """
        family, where = address
        self.steps = Steps()
        self._key, self._ssid = key, ssid
        self._clock_estimate, self._estimate, self._estimated_here = (
            clock_estimate,
            clock_estimate(),
            time.monotonic_ns(),
        )
        self._extensions = _extensions(dscp, padding_bytes, follow_up=follow_up)
        self._sealed = bool(self._extensions and key is not None)
        self._stamps: dict[int, int] = {}
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as exc:
            raise CheckError(f"cannot open a socket: {exc.strerror}") from None
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
        if left_here - self._estimated_here > _ESTIMATE_NS:
            self._estimate, self._estimated_here = self._clock_estimate(), left_here
        stamp = wire.ntp_stamp(left_at)
        extensions = self._extensions
        if self._sealed and self._key is not None:
            extensions = wire.seal_extensions(extensions, self._key, sequence)
        request = wire.Request(sequence & 0xFFFFFFFF, stamp, self._estimate, self._ssid, extensions)
        data = wire.encode_request(request, self._key)
        send(self._socket, data, "STAMP")
        self._stamps[sequence] = stamp
        return Packet(left_at, left_here, steps, min(self._source, RECEIVE))

    def forget(self, sequence: int) -> None:
        """Listen no more for what comes back for a packet."""
        self._stamps.pop(sequence, None)

    def errors(self) -> Iterator[Heard]:
        """Hand out what the kernel says of our own packets: when they left, or that and by whom they were refused."""
        for looped in error_queue(self._socket):
            if looped.refusal is not None:
                sequence = self._refused(looped.data)
                if sequence is not None:
                    yield Answer(sequence, refusal=refusal_words(looped.refusal)), None
                continue
            packet = looped.data[-self._packet_bytes :]  # a stamp: all headers stand before the packet
            sequence = int.from_bytes(packet[:_SEQUENCE_BYTES], "big")
            if looped.sent_at is not None and self._is_ours(sequence, packet):
                yield Answer(sequence, left_at=looped.sent_at), None

    def _refused(self, quoted: bytes) -> int | None:
        """Return which packet a router quotes. Many quote no more than the header: then it is about the last one sent.

        What follows the quoted bytes is not ours: padding, and what a router of an MPLS network adds (RFC 4884).
        """
        if len(quoted) < _SEQUENCE_BYTES:
            return next(reversed(self._stamps), None)
        sequence = int.from_bytes(quoted[:_SEQUENCE_BYTES], "big")
        return sequence if sequence in self._stamps else None

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
        if reply.extensions and self._sealed and self._key is not None:
            opened = wire.opened_extensions(reply.extensions, self._key, reply.sequence)
            if opened is None:  # RFC 8972, 4.8: what was bent on its way is no answer
                return self._damaged(data)
            reply = reply._replace(extensions=opened[0])
        return Answer(reply.sender_sequence, stamp or time.time_ns(), here, by_kernel=stamp is not None), reply

    def _damaged(self, data: bytes) -> Heard | None:
        """Count a packet that is no good reply against one of ours, as far as it says which."""
        at = 24 if self._key is None else 48
        number = data[at : at + _SEQUENCE_BYTES]
        sequence = int.from_bytes(number, "big")
        known = len(number) == _SEQUENCE_BYTES and sequence in self._stamps
        return (Answer(sequence, corrupted=True), None) if known else None

    def _is_ours(self, sequence: int, packet: bytes) -> bool:
        """Match a stamp to its packet by the packet's own bytes: one given to another is a whole interval off."""
        stamp = self._stamps.get(sequence)
        return stamp is not None and packet[self._stamp_slice] == stamp.to_bytes(8, "big")

    @property
    def _packet_bytes(self) -> int:
        base = wire.PLAIN_BYTES if self._key is None else wire.AUTHENTICATED_BYTES
        return base + len(self._extensions) + (wire.SEAL_BYTES if self._sealed else 0)

    def _prepare(self, family: socket.AddressFamily, where: tuple[object, ...], dscp: int, source: str | None) -> None:
        sock = self._socket
        make_ready(sock)
        if family == socket.AF_INET6:
            level, ttl, traffic_class = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _IPV6_TCLASS
        else:
            level, ttl, traffic_class = socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS
        sock.setsockopt(level, ttl, _TTL)
        if dscp:
            sock.setsockopt(level, traffic_class, dscp << 2)
        self._source = switch_on(sock)
        if source:
            bind_to(sock, source)
        aim(sock, where, "STAMP")


def _extensions(dscp: int, padding_bytes: int, *, follow_up: bool) -> bytes:
    """Ask the reflector for what the parameters need (RFC 8972)."""
    data = b""
    if dscp:
        data += wire.extension(wire.CLASS_OF_SERVICE, wire.class_of_service(wanted=dscp))
    if follow_up:
        data += wire.extension(wire.FOLLOW_UP, bytes(wire.FOLLOW_UP_BYTES))
    if padding_bytes:
        data += wire.extension(wire.EXTRA_PADDING, bytes(padding_bytes))
    return data
