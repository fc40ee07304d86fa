"""How right the virtual province's lines are: delay, jitter, loss, order, duplicates, damage, rate; against captures.

    python -m bench.lab_line [--packets 4000]

Two namespaces with a line of the lab's between them, tcpdump at both ends: each frame is found again at the far end by
its bytes. Delay is what the line took beyond what it was told to. Then what a line carries, and what that costs.
Needs root, tcpdump and iperf3.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psutil

from bench.capture import capture
from bench.common import machine, table
from bench.lines import Line, end, forwarder

if TYPE_CHECKING:
    from collections.abc import Iterator

NEAR, FAR, PORT = "10.1.0.1", "10.1.0.2", 9
PACKET_BYTES = 64
CASES: tuple[tuple[str, dict[str, float], int], ...] = (
    ("nothing", {}, 1),
    ("5 ms", {"delay_seconds": 0.005}, 1),
    ("50 ms", {"delay_seconds": 0.05}, 1),
    ("5 ms, jitter 10 ms", {"delay_seconds": 0.005, "jitter_seconds": 0.01}, 1),
    ("loss 1 %", {"loss_ratio": 0.01}, 5),
    ("loss 5 %, bursts of 3", {"loss_ratio": 0.05, "loss_burst": 3.0}, 5),
    ("reordered 2 %", {"delay_seconds": 0.005, "reorder_ratio": 0.02}, 5),
    ("doubled 1 %", {"duplicate_ratio": 0.01}, 5),
    ("damaged 1 %", {"corrupt_ratio": 0.01}, 5),
)
RATES = (10e6, 50e6, 200e6)
SENDER = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
packets, every = int(sys.argv[1]), float(sys.argv[2])
began = time.perf_counter()
for number in range(packets):
    time.sleep(max(0.0, began + number * every - time.perf_counter()))
    sock.sendto(struct.pack("!I", number) + bytes(%d), ("%s", %d))
""" % (PACKET_BYTES - 4, FAR, PORT)  # noqa: UP031  (the program's own braces)


def main() -> None:
    """Measure every case and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=4000, help="of the short cases (default %(default)s)")
    options = parser.parse_args()
    missing = [each for each in ("tcpdump", "iperf3") if not shutil.which(each)]
    if missing:
        sys.exit(f"missing: apt-get install {' '.join(missing)}")
    rows = [treated(name, does, options.packets * times) for name, does, times in CASES]
    header = ("told to", "packets", "delay beyond it: median, 99 %, largest, µs", "lost", "out of order", "doubled",
              "damaged")  # fmt: skip
    table("What a line of the lab does, one way", header, rows)
    header = ("limited to", "delivered, of the rate", "longest wait in its queue of 100 ms")
    table("A line's rate, with twice as much sent", header, [limited(rate) for rate in RATES])
    header = ("TCP over one line", "Mbit/s", "a forwarder's CPU at that")
    table("What a line carries", header, [carried("200 Mbit/s, 2 ms", 200e6), carried("no limit, 2 ms", 0.0)])
    print(f"\n{machine()}")


@contextlib.contextmanager
def laid(**does: float) -> Iterator[tuple[Line, subprocess.Popen[bytes]]]:
    """Lay a line of the lab's between the namespaces `near` and `far`."""
    made = Line(f"nhip-{os.getpid()}-lab")
    process = None
    try:
        for space in (made.near, made.far):
            ip("netns", "add", space)
            ip("-netns", space, "link", "set", "lo", "up")
        process = forwarder((made.far, "far0"), (made.near, "near0"), up=does, down={})
        for space, device, own in ((made.near, "near0", NEAR), (made.far, "far0", FAR)):
            ip("-netns", space, "address", "add", f"{own}/24", "dev", device)
        made.run("near", "ping", "-c1", "-W2", FAR)
        made.run("far", "ping", "-c1", "-W2", NEAR)
        yield made, process
    finally:
        if process is not None:
            end(process)
        for space in (made.near, made.far):
            subprocess.run(["ip", "netns", "delete", space], check=False, stderr=subprocess.DEVNULL)


def treated(name: str, does: dict[str, float], packets: int) -> tuple[object, ...]:
    """Send packets over a line and return a row of what became of them."""
    with (
        laid(**does) as (line, _),
        capture(line, "far", "udp or not ip") as there,
        capture(line, "near", f"udp port {PORT}") as here,
    ):
        line.run("near", sys.executable, "-c", SENDER, str(packets), "0.0005")
    sent = {frame: at for at, frame in here.frames}
    came = [(at, frame) for at, frame in there.frames if frame in sent]
    copies = Counter(frame for _, frame in came)
    damaged = sum(1 for _, frame in there.frames if frame not in sent and len(frame) == len(here.frames[0][1]))
    delays = sorted((at - sent[frame]) / 1e3 - does.get("delay_seconds", 0) * 1e6 for at, frame in came)
    numbers = [struct.unpack_from("!I", frame, 42)[0] for _, frame in came]
    lost = len(sent) - len(copies) - damaged
    return (
        name, len(sent), spread(delays),
        share(lost, len(sent)), share(overtaken(numbers), len(sent)),
        share(sum(copies.values()) - len(copies), len(sent)), share(damaged, len(sent)),
    )  # fmt: skip


def spread(values: list[float]) -> str:
    """Say the median, the 99th percentile and the largest of sorted values."""
    return ", ".join(f"{values[min(len(values) - 1, int(len(values) * at))]:,.0f}" for at in (0.5, 0.99, 1))


def overtaken(numbers: list[int]) -> int:
    """Count those that came after a later one (RFC 4737)."""
    late, highest = 0, -1
    for number in numbers:
        late += number < highest
        highest = max(highest, number)
    return late


def share(part: int, whole: int) -> str:
    """Say a share in percent with its 95 % interval; a dash for none."""
    found = part / whole
    return f"{100 * found:.2f} ± {196 * math.sqrt(found * (1 - found) / whole):.2f} %" if part else "–"


def limited(rate: float) -> tuple[object, ...]:
    """Send UDP at twice a line's rate and return a row: what came, and how long it waited."""
    with laid(rate_bits_per_second=rate, queue_seconds=0.1) as (line, _):
        server = listening(line)
        seconds = 4
        with capture(line, "far", "udp") as there, capture(line, "near", "udp") as here:
            line.run("near", "iperf3", "-c", FAR, "-u", "-b", str(int(rate * 2)), "-t", str(seconds), "-l", "1400")
        server.communicate(timeout=10)
    sent = {frame: at for at, frame in here.frames}
    came = [(at, frame) for at, frame in there.frames if frame in sent]
    span = (came[-1][0] - came[0][0]) / 1e9
    got = (len(came) - 1) * (1400 + 42) * 8 / span
    longest = max(at - sent[frame] for at, frame in came) / 1e6
    return (f"{rate / 1e6:.0f} Mbit/s", f"{100 * got / rate:.2f} %", f"{longest:.1f} ms")


def carried(name: str, rate: float) -> tuple[object, ...]:
    """Run TCP over a line for some seconds; return a row: what came, and what the forwarder used of a core."""
    with laid(delay_seconds=0.002, rate_bits_per_second=rate) as (line, process):
        server = listening(line)
        before = sum(psutil.Process(process.pid).cpu_times()[:2])
        done = line.run("near", "iperf3", "-c", FAR, "-t", "5", "-J")
        used = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
        server.communicate(timeout=10)
    got = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return (name, f"{got / 1e6:.0f}", f"{100 * used / 5:.0f} % of a core")


def listening(line: Line) -> subprocess.Popen[str]:
    """Start an iperf3 server for one client at the far end, and return once it listens."""
    server = line.start("far", "iperf3", "-s", "-1", "--forceflush", stdout=subprocess.PIPE)
    assert server.stdout is not None  # noqa: S101  (for mypy)
    while "listening" not in server.stdout.readline():
        if server.poll() is not None:
            raise SystemExit("iperf3 does not start")
    return server


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
