"""Lines of a known rate: three network namespaces, the middle one shapes, and a path as long as one likes.

    near ── middle ── far          the middle shapes both directions, by TBF or HTB
    near ── middle ═ delay ═ far   the same, and every packet takes `delay_seconds` more each way

No machine of a real network is touched: everything lives in namespaces whose names carry this process' id. The kernel
here may lack netem, so the delay is the virtual province's forwarder between two TAP devices, a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ETHERNET_BYTES = 14  # what TBF and HTB count beside an IP packet

_QUEUE_PACKETS = 20_000
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
            end(made.forwarder)
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
    """Start a forwarder between the middle and the far end."""
    does = {"delay_seconds": delay_seconds}
    return forwarder((made.middle, "right0"), (made.far, "far0"), up=does, down=does)


def forwarder(
    upper: tuple[str, str], lower: tuple[str, str], *, up: dict[str, float], down: dict[str, float]
) -> subprocess.Popen[bytes]:
    """Start a line (`tests/lab/forwarder.py`) between new devices of two namespaces, with what it does each way."""
    command = [sys.executable, "-m", "tests.lab.forwarder"]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    tell(process, impair={"up": up, "down": down})
    for end, (space, device) in (("upper", upper), ("lower", lower)):
        tell(process, attach=end, space=space, device=device)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a forwarder; its devices go with it."""
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def tell(process: subprocess.Popen[bytes], **command: object) -> None:
    """Tell a forwarder something, and wait until it is so."""
    assert process.stdin is not None  # noqa: S101  (for mypy)
    assert process.stdout is not None  # noqa: S101  (for mypy)
    process.stdin.write(json.dumps(command).encode() + b"\n")
    answer = process.stdout.readline()
    if answer != b"{}\n":
        raise SystemExit(f"the forwarder: {answer.decode()}")


def _tc(space: str, words: str) -> None:
    _run("ip", "netns", "exec", space, "tc", *words.split())


def _ip(space: str, words: str) -> None:
    _run("ip", "-netns", space, *words.split())


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}")
