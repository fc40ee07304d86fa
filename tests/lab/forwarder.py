"""A line between two namespaces: two TAP devices, and what `impairment.py` does to each frame between them.

    python -m tests.lab.forwarder     one JSON object a line on standard input, one answer a line on standard output

    {"attach": "upper", "space": NETNS, "device": NAME, "mac": "02:…", "bulk": false}   make this end's device there
    {"detach": "upper"}                                                  take it away
    {"impair": {"up": {…}, "down": {…}}}                                 what to do to frames; "up" goes to upper
    {"carrier": "lower", "on": false}                                    the plug of that end is out

It ends with its standard input, and its devices with it. A `bulk` line passes TCP's data in the kernel's large pieces
as long as it only delays: the same bytes a second cost a fraction, and nobody looks at single packets there.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.lab.impairment import ETHERNET_BYTES, Direction, Impairment
from tests.lab.ntp_shift import shifted

if TYPE_CHECKING:
    from collections.abc import Iterator

TUNSETIFF, TUNSETCARRIER, TUNSETOFFLOAD = 0x400454CA, 0x400454E2, 0x400454D0
IFF_TAP_WITHOUT_INFO, IFF_VNET_HDR = 0x0002 | 0x1000, 0x4000
LARGE_PIECES = 0x01 | 0x02 | 0x04  # TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
HEADER_BYTES = 10  # of struct virtio_net_hdr: how a large piece is to be cut, or zeros
QUEUE_FRAMES = 20_000
FRAME_BYTES = 68_000
AT_ONCE = 32
# As late as a process wakes up: so little too early balances it. Where frames come close together, some leave at once.
SOON_SECONDS, SOON_WHEN_BUSY_SECONDS, BUSY_SECONDS = 25e-6, 150e-6, 200e-6
ENDS = ("upper", "lower")
_CLONE_NEWNET = 0x40000000


class Line:
    """Two ends, two directions, and the frames on their way."""

    def __init__(self, seed: int | None = None) -> None:
        """Begin with no end attached and nothing done to frames."""
        chance = random.Random(seed)
        # A direction is named by the end where its frames come in.
        self._directions = {end: Direction(Impairment(), chance) for end in ENDS}
        self._taps: dict[str, int] = {}
        self._ends: dict[int, str] = {}
        self._sources = [0]
        self._bulk: set[str] = set()
        self._came_at, self._is_busy = 0.0, False
        self._waiting: list[tuple[float, int, str, bytes]] = []
        self._count = 0
        self._chance = chance

    def run(self) -> None:
        """Carry frames until standard input ends."""
        commands = b""
        while True:
            left = self._waiting[0][0] - time.perf_counter() if self._waiting else 3600.0
            readable = select.select(self._sources, [], [], max(0.0, left))[0]
            for source in readable:
                if source:
                    self._take_in(self._ends[source], source)
            self._let_go()
            if 0 in readable:
                more = os.read(0, 65536)
                if not more:
                    return
                *lines, commands = (commands + more).split(b"\n")
                for line in lines:
                    print(self._answer(line), flush=True)

    def _take_in(self, end: str, tap: int) -> None:
        direction, now, other = self._directions[end], time.perf_counter(), ENDS[end == "upper"]
        self._is_busy, self._came_at = now - self._came_at < BUSY_SECONDS, now
        try:
            for _ in range(AT_ONCE):
                piece = os.read(tap, FRAME_BYTES)
                for due_at, damaged in direction.take(now, len(piece) - HEADER_BYTES):
                    if len(self._waiting) < QUEUE_FRAMES:
                        self._count += 1
                        changes = damaged or direction.impairment.clock_shift_seconds
                        sent = self._changed(piece, direction, damaged=damaged) if changes else piece
                        heapq.heappush(self._waiting, (due_at, self._count, other, sent))
        except BlockingIOError:
            return  # all is read
        except OSError:  # the namespace was taken away, and the device with it
            self._detach(end)

    def _changed(self, piece: bytes, direction: Direction, *, damaged: bool) -> bytes:
        frame = piece[HEADER_BYTES:]
        if direction.impairment.clock_shift_seconds:
            frame = shifted(frame, direction.impairment.clock_shift_seconds)
        if damaged:
            at = self._chance.randrange(ETHERNET_BYTES, len(frame))
            frame = frame[:at] + bytes((frame[at] ^ 1 << self._chance.randrange(8),)) + frame[at + 1 :]
        return bytes(HEADER_BYTES) + frame

    def _let_go(self) -> None:
        now = time.perf_counter() + (SOON_WHEN_BUSY_SECONDS if self._is_busy else SOON_SECONDS)
        while self._waiting and self._waiting[0][0] <= now:
            _, _, end, frame = heapq.heappop(self._waiting)
            if end in self._taps:
                with contextlib.suppress(OSError):  # the device is not up
                    os.write(self._taps[end], frame)

    def _answer(self, line: bytes) -> str:
        try:
            self._obey(json.loads(line))
        except (OSError, ValueError, KeyError, msgspec.ValidationError, subprocess.CalledProcessError) as exc:
            said = exc.stderr.strip() if isinstance(exc, subprocess.CalledProcessError) else str(exc)
            return json.dumps({"error": said})
        return "{}"

    def _obey(self, command: dict[str, Any]) -> None:
        if "attach" in command:
            end, bulk = command["attach"], command.get("bulk", False)
            self._detach(end)
            self._taps[end] = tap_in(command["space"], command["device"], command.get("mac", ""), bulk=bulk)
            if bulk:
                self._bulk.add(end)
            self._listen()
            self._offer_large_pieces()
        elif "detach" in command:
            self._detach(command["detach"])
        elif "carrier" in command:
            tap = self._taps[command["carrier"]]
            fcntl.ioctl(tap, TUNSETCARRIER, struct.pack("i", command["on"]))
        else:
            both = {way: msgspec.convert(does, Impairment) for way, does in command["impair"].items()}
            for way, end in (("up", "lower"), ("down", "upper")):
                self._directions[end].become(both[way])
            self._offer_large_pieces()

    def _offer_large_pieces(self) -> None:
        """Let the kernel hand over large pieces, or cut them itself before they come."""
        whole = all(direction.impairment.keeps_frames_whole for direction in self._directions.values())
        for end in self._bulk:
            fcntl.ioctl(self._taps[end], TUNSETOFFLOAD, LARGE_PIECES if whole else 0)

    def _detach(self, end: str) -> None:
        self._bulk.discard(end)
        tap = self._taps.pop(end, None)
        if tap is not None:
            os.close(tap)
        self._listen()

    def _listen(self) -> None:
        self._ends = {tap: end for end, tap in self._taps.items()}
        self._sources = [0, *self._ends]


def tap_in(space: str, name: str, mac: str = "", *, bulk: bool = False) -> int:
    """Make a TAP device in a namespace, bring it up, and return its file; the device lives as long as that."""
    with within(space):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_WITHOUT_INFO | IFF_VNET_HDR))
        # One packet is one packet: frames that are joined would be delayed, lost and counted as one.
        words = [*([] if bulk else ["gso_max_segs", "1"]), *(["address", mac] if mac else [])]
        words += ["txqueuelen", str(QUEUE_FRAMES), "up"]
        subprocess.run(["ip", "link", "set", "dev", name, *words], check=True, capture_output=True, text=True)
        return tap


@contextlib.contextmanager
def within(space: str) -> Iterator[None]:
    """Let this thread be in a network namespace for the length of a block."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(Path("/run/netns", space), os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(own)
        os.close(own)
        os.close(there)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    """Be the line that standard input asks for."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # a line does not wait for a processor
    gc.disable()  # no cycles are made here, and a collection would delay what is due
    Line().run()


if __name__ == "__main__":
    sys.exit(main())
