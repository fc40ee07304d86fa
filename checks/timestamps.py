"""The instants of packets as the kernel saw them, so that neither this process nor its load is in the number.

In this order of preference, and each result says which it got (`timestamp_source`):

* `BOTH` (2): the kernel's stamp when the packet was handed to the card, and when the answer came from it;
* `RECEIVE` (1): the kernel's stamp of the answer alone; the sending instant is read just before the system call;
* `USER` (0): this process reads the clock around its system calls.

All instants are nanoseconds of the wall clock, the only one that the kernel stamps with (SO_TIMESTAMPING of Linux'
`Documentation/networking/timestamping`). A step of that clock would bend what lies across it: `Steps` notices.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from checks.probe_socket import RECVERR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USER, RECEIVE, BOTH = 0, 1, 2

SOURCE_HELP = "whose instants these are, of the worst packet: 2 the kernel's, 1 the kernel's on arrival, 0 our own"

_SO_TIMESTAMPNS, _SO_TIMESTAMPING = 35, 37  # what the socket module does not name; the same on every CPU but SPARC
_TX_SOFTWARE, _RX_SOFTWARE, _SOFTWARE = 1 << 1, 1 << 3, 1 << 4
_BY_NUMBER, _NUMBER_ONLY = 1 << 7, 1 << 11
_BY_TIMESTAMPING = 4  # SO_EE_ORIGIN_TIMESTAMPING: not a refusal, but our own packet with its stamp
_ORIGIN = 4
_TIMESPEC = struct.Struct("@qq" if struct.calcsize("@l") == 8 else "@ll")  # noqa: PLR2004  (bytes of a long)
_SECOND = 1_000_000_000
_READS_AT_ONCE = 256
_ANCILLARY_BYTES = 256
_STEP_NS = 100_000
_BEGINNING_SECONDS = 0.005
_TIGHT_NS = 20_000


class Looped(NamedTuple):
    """An entry of a socket's error queue: one of our own packets, with all its headers if it is a stamp.

    Either `sent_at`, the nanosecond at which the kernel sent it, or `refusal`: the kernel's `sock_extended_err` with
    the address of whoever refused the packet.
    """

    data: bytes
    sent_at: int | None
    refusal: bytes | None


def switch_on(sock: socket.socket) -> int:
    """Ask the kernel to stamp what the socket sends and receives; return `BOTH`, `RECEIVE` or `USER`."""
    _keep_stamping()
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE)
    except OSError:
        return switch_on_receive(sock)
    return BOTH


def switch_on_receive(sock: socket.socket) -> int:
    """Ask the kernel to stamp what the socket receives; return `RECEIVE`, or `USER` where it does not."""
    _keep_stamping()
    for option, value in ((_SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE), (_SO_TIMESTAMPNS, 1)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:
            continue
        return RECEIVE
    return USER


DEPARTURE = (socket.SOL_SOCKET, _SO_TIMESTAMPING, struct.pack("=I", _TX_SOFTWARE))
"""Goes along with `sendmsg` for a packet whose departure the error queue is to tell; the socket must stamp arrivals."""


def number_departures(sock: socket.socket) -> bool:
    """Let the error queue tell when each packet left by its number alone, from 0 on; False where it does not.

    A fifth of the cost of getting every packet back whole. But the kernel counts, so this is for a sender that knows of
    every packet whether it left; calling it again, after a failure, counts from 0 again.
    """
    _keep_stamping()
    flags = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags | _BY_NUMBER | _NUMBER_ONLY)
    except OSError:
        return False
    return True


@functools.cache
def _keep_stamping() -> None:
    """Let the kernel stamp arrivals for as long as this process lives.

    It begins to a moment after the first socket has asked, from a thread of its own, and ends with the last socket: the
    first packets of a measurement would go without. So one descriptor asks for good, and is waited for once.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        keeper.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)
    keeper.detach()
    time.sleep(_BEGINNING_SECONDS)


def received_at(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return the nanosecond at which the kernel received a datagram, from what `recvmsg` gave along, or None."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind in (_SO_TIMESTAMPING, _SO_TIMESTAMPNS) and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return (seconds * _SECOND + nanoseconds) or None
    return None


def error_queue(sock: socket.socket, longest: int = 2048) -> Iterator[Looped]:
    """Hand out what waits in the error queue, without waiting; packets are cut at `longest` bytes."""
    for _ in range(_READS_AT_ONCE):
        try:
            data, ancillary, _, _ = sock.recvmsg(longest, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
        except OSError:
            return
        error = next((each[2] for each in ancillary if (each[0], each[1]) in RECVERR), b"")
        if len(error) > _ORIGIN and error[_ORIGIN] == _BY_TIMESTAMPING:
            yield Looped(data, received_at(ancillary), None)
        elif error:
            yield Looped(data, None, error)


class Steps:
    """Counts the steps of the wall clock, by the monotonic one, which is slewed alike but never set."""

    def __init__(self) -> None:
        """Begin to watch now."""
        self.count = 0
        self._offset = _offset() or time.time_ns() - time.monotonic_ns()

    def look(self) -> int:
        """Return how many steps there have been; what lies between two different counts must not be subtracted."""
        now = _offset()
        if now is not None and abs(now - self._offset) > _STEP_NS:
            self.count += 1
            self._offset = now
        return self.count


def _offset() -> int | None:
    """Return wall clock minus monotonic clock; None if this process was held up between the two each time."""
    for _ in range(3):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < _TIGHT_NS:
            return wall - (before + after) // 2
    return None
