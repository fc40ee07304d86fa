"""The truth about packets: what tcpdump saw of them, in nanoseconds, on the interface where it stood."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.lines import Line

_FILE_HEADER, _RECORD = 24, struct.Struct("=IIII")
_NANOSECONDS = 0xA1B23C4D
_SECOND = 1_000_000_000
_ETHERNET = 14
_IPV4 = b"\x08\x00"
_ARP_SOURCE = slice(28, 32)


class Seen(NamedTuple):
    """One frame: when it passed (nanoseconds), its source and protocol, what stands after the IP header, its length.

    A frame without IPv4 has protocol 0. The length is that on the wire, in bytes, whatever part of it was kept.
    """

    at: int
    source: bytes
    protocol: int
    payload: bytes
    length: int

    def is_from(self, address: str) -> bool:
        """Tell whether an IPv4 address sent it."""
        return self.source == socket.inet_aton(address)


class Capture:
    """What was captured; complete once the block has ended."""

    packets: list[Seen]
    frames: list[tuple[int, bytes]]


@contextlib.contextmanager
def capture(line: Line, where: str, what: str) -> Iterator[Capture]:
    """Capture at the `near` or `far` end of a line for the length of a block, by a filter of tcpdump's."""
    found = Capture()
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
        file = Path(folder, "pcap")
        options = ("-n", "-s", "128", "-B", "16384", "--time-stamp-precision=nano", "-U", "-w", str(file))
        process = line.start(where, "tcpdump", "-Z", "root", "-i", f"{where}0", *options, what, stderr=subprocess.PIPE)
        assert process.stderr is not None  # noqa: S101  (for mypy)
        while "listening on" not in process.stderr.readline():
            if process.poll() is not None:
                raise SystemExit("tcpdump does not start")
        try:
            yield found
            time.sleep(1.2)  # tcpdump reads its ring once a second
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            process.stderr.close()
        whole = file.read_bytes()
        found.packets = read(whole)
        found.frames = [(at, frame) for at, frame, _ in frames(whole)]


def frames(pcap: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield of each frame in a capture file when it passed (ns), what was kept of it, and its length on the wire."""
    if int.from_bytes(pcap[:4], "little") != _NANOSECONDS:
        raise SystemExit("the capture is not in nanoseconds")
    at = _FILE_HEADER
    while at + _RECORD.size <= len(pcap):
        seconds, nanoseconds, kept, length = _RECORD.unpack_from(pcap, at)
        at += _RECORD.size
        yield seconds * _SECOND + nanoseconds, pcap[at : at + kept], length
        at += kept


def read(pcap: bytes) -> list[Seen]:
    """Read a capture file of this machine's byte order, with nanoseconds, of Ethernet."""
    packets = []
    for stamp, frame, length in frames(pcap):
        if frame[12:_ETHERNET] != _IPV4:
            packets.append(Seen(stamp, frame[_ARP_SOURCE], 0, b"", length))
            continue
        header = (frame[_ETHERNET] & 0x0F) * 4
        source, protocol = frame[_ETHERNET + 12 : _ETHERNET + 16], frame[_ETHERNET + 9]
        packets.append(Seen(stamp, source, protocol, frame[_ETHERNET + header :], length))
    return packets


def echo_round_trips(packets: list[Seen]) -> list[int | None]:
    """Return the round trip of each ICMP echo request, in the order they left, in nanoseconds; None without a reply."""
    left: dict[bytes, int] = {}
    trips: dict[bytes, int | None] = {}
    for packet in packets:
        kind, key = packet.payload[0], packet.payload[4:8]
        if kind == 8:
            left[key], trips[key] = packet.at, None
        elif kind == 0 and key in left:
            trips[key] = packet.at - left[key]
    return list(trips.values())


def exchanges(packets: list[Seen], port: int, key: slice) -> dict[bytes, tuple[int, int]]:
    """Return when each UDP request to `port` and its answer passed, by the bytes of the payload that name it."""
    went: dict[bytes, int] = {}
    both: dict[bytes, tuple[int, int]] = {}
    for packet in packets:
        source, target = int.from_bytes(packet.payload[:2], "big"), int.from_bytes(packet.payload[2:4], "big")
        name = packet.payload[8:][key]
        if target == port:
            went[name] = packet.at
        elif source == port and name in went:
            both[name] = (went[name], packet.at)
    return both
