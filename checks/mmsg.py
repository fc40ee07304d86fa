"""Many datagrams in one system call: sendmmsg(2) and recvmmsg(2), which Python does not have.

For thousands of targets from one socket, where a call for each packet would be most of the cost. Buffers are laid out
in rows of equal length, so that `struct.iter_unpack` reads a whole batch without a line of Python for each packet.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import struct
    from collections.abc import Iterator, Sequence


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """`struct mmsghdr`: a message, and how many bytes of it went or came."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint32))


_HEADER_BYTES = ctypes.sizeof(_Header)
_DONT_WAIT = int(socket.MSG_DONTWAIT)
_libc = ctypes.CDLL(None, use_errno=True)


class Outgoing:
    """Packets to as many addresses, laid out once and sent any number of times."""

    def __init__(self, addresses: Sequence[bytes], packet_bytes: int) -> None:
        """Take each packet's `sockaddr` and the length of them all; `packets` is theirs to fill in."""
        self.packet_bytes = packet_bytes
        self.packets = bytearray(len(addresses) * packet_bytes)
        self._names = ctypes.create_string_buffer(b"".join(addresses))
        self._packets_at = (ctypes.c_char * len(self.packets)).from_buffer(self.packets)
        self._iovecs = (_Iovec * len(addresses))()
        self._headers = (_Header * len(addresses))()
        packets, names = ctypes.addressof(self._packets_at), ctypes.addressof(self._names)
        iovecs = ctypes.addressof(self._iovecs)
        name = 0
        for index, address in enumerate(addresses):
            self._iovecs[index] = _Iovec(packets + index * packet_bytes, packet_bytes)
            iovec = iovecs + index * ctypes.sizeof(_Iovec)
            self._headers[index].message = _Message(names + name, len(address), iovec, 1, None, 0, 0)
            name += len(address)

    def send(self, sock: socket.socket, first: int, count: int) -> int:
        """Send `count` packets from the one at `first` on, and return how many left. `OSError` when none did."""
        at = ctypes.byref(self._headers, first * _HEADER_BYTES)
        sent = _libc.sendmmsg(sock.fileno(), at, count, 0)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return int(sent)


class Incoming:
    """Room for a batch of datagrams, with what the kernel says of each."""

    def __init__(self, rows: int, data_bytes: int, control_bytes: int) -> None:
        """Lay out `rows` rows; what of a datagram does not fit into its row is cut off."""
        self.data, self.control = bytearray(rows * data_bytes), bytearray(rows * control_bytes)
        self._data_bytes, self._control_bytes, self._rows = data_bytes, control_bytes, rows
        self._data_at = (ctypes.c_char * len(self.data)).from_buffer(self.data)
        self._control_at = (ctypes.c_char * len(self.control)).from_buffer(self.control)
        self._iovecs = (_Iovec * rows)()
        self._headers = (_Header * rows)()
        data, control = ctypes.addressof(self._data_at), ctypes.addressof(self._control_at)
        iovecs = ctypes.addressof(self._iovecs)
        for row in range(rows):
            self._iovecs[row] = _Iovec(data + row * data_bytes, data_bytes)
            iovec = iovecs + row * ctypes.sizeof(_Iovec)
            room = control + row * control_bytes
            self._headers[row].message = _Message(None, 0, iovec, 1, room, control_bytes, 0)
        self._fresh = bytes(self._headers)

    def batches(self, sock: socket.socket, flags: int = 0) -> Iterator[int]:
        """Read all that is there, without waiting, and say each time how many rows it filled."""
        while got := self._receive(sock, flags):
            yield got
            if got < self._rows:
                return

    def _receive(self, sock: socket.socket, flags: int) -> int:
        ctypes.memmove(self._headers, self._fresh, len(self._fresh))  # the kernel wrote lengths into them
        ctypes.memset(self._control_at, 0, len(self.control))  # and writes nothing where it has nothing to say
        got = _libc.recvmmsg(sock.fileno(), self._headers, self._rows, flags | _DONT_WAIT, None)
        if got < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(number, os.strerror(number))
        return int(got)

    def rows(self, layout: struct.Struct, source: bytearray, count: int) -> list[tuple[int, ...]]:
        """Unpack the first `count` rows of `data` or `control`; the layout must be as long as a row."""
        return list(layout.iter_unpack(memoryview(source)[: count * layout.size]))
