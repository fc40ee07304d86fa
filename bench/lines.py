"""Lines of a known rate: three network namespaces, the middle one shapes, and a path as long as one likes.

    near ── middle ── far          the middle shapes both directions, by TBF or HTB
    near ── middle ═ delay ═ far   the same, and every packet takes `delay_seconds` more each way

No machine of a real network is touched: everything lives in namespaces whose names carry this process' id. The kernel
here may lack netem, so the delay is a forwarder of our own between two TAP devices; it runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

ETHERNET_BYTES = 14  # what TBF and HTB count beside an IP packet

_TUNSETIFF = 0x400454CA
_IFF_TAP_WITHOUT_INFO = 0x0002 | 0x1000
_QUEUE_PACKETS = 20_000
_FRAME_BYTES = 2048
_made = 0


@dataclass(frozen=True)
class Shape:
    """How a direction is shaped: by whom, to which rate, with which burst, behind how long a queue."""

    kind: str
    rate: int
    burst_bytes: int
    queue_seconds: float = 0.1
    delay_seconds: float = 0.0

    @property
    def queue_bytes(self) -> int:
        """Bytes that may wait."""
        return max(10_000, int(self.rate * self.queue_seconds / 8))


class Line:
    """The namespaces `near` and `far` with the addresses 10.1.0.1 and 10.2.0.1, and what shapes between them."""

    target = "10.2.0.1"

    def __init__(self, name: str) -> None:
        """Take the common part of the namespaces' names."""
        self.near, self.middle, self.far = (f"{name}-{place}" for place in ("near", "middle", "far"))
        self.forwarder: subprocess.Popen[bytes] | None = None

    def start(self, where: str, *argv: str, **options: object) -> subprocess.Popen[str]:
        """Start a program in `near` or `far`; the caller ends it."""
        command = ["ip", "netns", "exec", getattr(self, where), *argv]
        return subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload, no-any-return]  # Popen's

    def run(self, where: str, *argv: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program in `near` or `far` to its end."""
        command = ["ip", "netns", "exec", getattr(self, where), *argv]
        return subprocess.run(command, check=False, timeout=seconds, capture_output=True, text=True)

    def bytes_sent(self, where: str) -> int:
        """Return the bytes of Ethernet frames that `near` or `far` has sent over its end of the line."""
        device = {"near": "near0", "far": "far0"}[where]
        path = f"/sys/class/net/{device}/statistics/tx_bytes"
        return int(self.run(where, "cat", path).stdout)


@contextlib.contextmanager
def line(up: Shape, down: Shape | None = None) -> Iterator[Line]:
    """Lay a line for the length of a block; `down` is as `up` where it is not given."""
    global _made  # noqa: PLW0603  (a name is used once)
    _made += 1
    made = Line(f"nhip-{os.getpid()}-{_made}")
    down = down or up
    try:
        for space in (made.near, made.middle, made.far):
            _run("ip", "netns", "add", space)
            _ip(space, "link set lo up")
        _lay(made, up.delay_seconds)
        shape(made, up, down)
        made.run("near", "ping", "-c", "1", "-W", "5", Line.target)  # neighbours learn each other now, and not later
        yield made
    finally:
        if made.forwarder is not None:
            made.forwarder.send_signal(signal.SIGTERM)
            made.forwarder.wait(10)
        for space in (made.near, made.middle, made.far):
            subprocess.run(["ip", "netns", "delete", space], check=False, stderr=subprocess.DEVNULL)


def shape(made: Line, up: Shape, down: Shape) -> None:
    """Shape the line's middle, anew if it is shaped already."""
    for device, how in (("right0", up), ("left0", down)):
        subprocess.run(
            ["ip", "netns", "exec", made.middle, "tc", "qdisc", "delete", "dev", device, "root"],
            check=False,
            stderr=subprocess.DEVNULL,
        )
        if how.kind == "tbf":
            words = f"root tbf rate {how.rate} burst {how.burst_bytes} limit {how.queue_bytes}"
            _tc(made.middle, f"qdisc add dev {device} {words}")
        else:
            _tc(made.middle, f"qdisc add dev {device} root handle 1: htb default 1")
            words = f"htb rate {how.rate} ceil {how.rate} burst {how.burst_bytes} cburst {how.burst_bytes} quantum 1514"
            _tc(made.middle, f"class add dev {device} parent 1: classid 1:1 {words}")
            _tc(made.middle, f"qdisc add dev {device} parent 1:1 bfifo limit {how.queue_bytes}")


def _lay(made: Line, delay_seconds: float) -> None:
    _run(
        "ip", "link", "add", "near0", "netns", made.near, "type", "veth", "peer", "name", "left0", "netns", made.middle
    )
    if delay_seconds:
        made.forwarder = _forwarder(made, delay_seconds)
    else:
        _run("ip", "link", "add", "far0", "netns", made.far, "type", "veth", "peer", "right0", "netns", made.middle)
    for space, device, address in (
        (made.near, "near0", "10.1.0.1/24"),
        (made.middle, "left0", "10.1.0.2/24"),
        (made.middle, "right0", "10.2.0.2/24"),
        (made.far, "far0", "10.2.0.1/24"),
    ):
        _ip(space, f"address add {address} dev {device}")
        # One packet is one packet: what is joined before the shaper would be counted and dropped as one.
        _ip(space, f"link set {device} gso_max_segs 1 txqueuelen {_QUEUE_PACKETS} up")
    _ip(made.near, "route add 10.2.0.0/24 via 10.1.0.2")
    _ip(made.far, "route add 10.1.0.0/24 via 10.2.0.2")
    _run("ip", "netns", "exec", made.middle, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _forwarder(made: Line, delay_seconds: float) -> subprocess.Popen[bytes]:
    """Start the forwarder and put the ends of its devices where they belong."""
    names = ("right0", "far0")
    command = ["ip", "netns", "exec", made.middle, sys.executable, "-m", "bench.lines", str(delay_seconds), *names]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101  (for mypy)
    process.stdout.readline()
    _ip(made.middle, f"link set far0 netns {made.far}")
    return process


def _tc(space: str, words: str) -> None:
    _run("ip", "netns", "exec", space, "tc", *words.split())


def _ip(space: str, words: str) -> None:
    _run("ip", "-netns", space, *words.split())


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}")


def forward(delay_seconds: float, names: tuple[str, str]) -> NoReturn:
    """Carry frames between two new TAP devices, each `delay_seconds` after it came, in order, until SIGTERM."""
    taps = [_tap(name) for name in names]
    others = {taps[0]: taps[1], taps[1]: taps[0]}
    waiting: deque[tuple[float, int, bytes]] = deque()
    print("ready", flush=True)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # a path does not wait for a processor
    while True:
        left = waiting[0][0] - time.perf_counter() if waiting else 3600.0
        readable = select.select(taps, [], [], max(0.0, left))[0]
        now = time.perf_counter()
        for tap in readable:
            _take_in(tap, others[tap], now + delay_seconds, waiting)
        while waiting and waiting[0][0] <= now:
            _, tap, frame = waiting.popleft()
            with contextlib.suppress(OSError):
                os.write(tap, frame)


def _take_in(tap: int, other: int, due: float, waiting: deque[tuple[float, int, bytes]]) -> None:
    with contextlib.suppress(OSError):  # nothing more to read, or the device is not up yet
        for _ in range(32):
            frame = os.read(tap, _FRAME_BYTES)
            if len(waiting) < _QUEUE_PACKETS:
                waiting.append((due, other, frame))


def _tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP_WITHOUT_INFO))
    return tap


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    forward(float(sys.argv[1]), (sys.argv[2], sys.argv[3]))
