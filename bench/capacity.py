"""How right is a measured capacity, for how many bytes, and what does it do to others: beside iperf3 on the same lines.

    python -m bench.capacity [--quick] [--rates 10,50]

Lines are network namespaces, shaped in the middle by TBF or HTB (`bench/lines.py`), direct or with 10 ms each way.
Both measure upwards. A rate is in percent of the shaped one: ours counts IP packets (1,428 bytes), the shaper Ethernet
frames (14 more), so ours is converted; iperf3's is what it reports, payload. Bytes are those of the sending interface.
iperf3 takes its default of 10 s; it runs on the lines with a small burst, and its bytes stand for the other rows of
that rate. Needs root, iperf3 and ping.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.common import ROOT, machine, table
from bench.lines import ETHERNET_BYTES, Line, Shape, line

if TYPE_CHECKING:
    from collections.abc import Iterator

IP_BYTES = 1428
RATES = (10, 20, 50, 100, 200)
SMALL_SECONDS, LARGE_SECONDS = 0.004, 0.02  # of the rate: what 250 Hz need, and five times as much
QUEUE_SECONDS = 0.1
DELAY_SECONDS = 0.01
PORT = 8620
GOAL_OFF, GOAL_BYTES, GOAL_SHARED, GOAL_PEAK = 1.0, 50, 10.0, 5


_WHY = """
Where a goal is missed: a shaper that lets a burst of 20 ms through at once, at the end of 20 ms, has its bucket full
again whenever a pulse comes back. The search then pays for the burst some four times over, and half of it waits at the
last. Without a delay and at 100 Mbit/s and more, iperf3's BBR itself hardly waits: a fifth of that is a millisecond.
"""


@dataclass
class Found:
    """What a tool said and cost: bit/s, bytes on the wire, and the most that it delayed a ping, seconds."""

    rate: float
    sent: int
    peak: float
    settled: bool = True


def main() -> None:
    """Lay the lines, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="iperf3 for 3 s, three rates, TBF alone")
    parser.add_argument("--rates", default="", help="in Mbit/s, separated by commas")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    for program in ("iperf3", "ping", "tc"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing")
    rates = [int(rate) for rate in options.rates.split(",") if rate] or list((10, 50, 200) if options.quick else RATES)
    seconds = 3 if options.quick else 10
    alone(rates, ("tbf",) if options.quick else ("tbf", "htb"), seconds)
    shared([rate for rate in rates if rate in (10, 50, 200)] or rates, seconds)
    print(f"\nmachine: {machine()}")


async def serve(host: str) -> None:
    """Be the capacity server, at the far end of a line."""
    from agents.reflector.capacity_server import CapacityLimits, CapacityServer  # noqa: PLC0415  (this role alone)
    from checks.address import literal  # noqa: PLC0415  (the same)

    server = CapacityServer([literal(host, PORT)[0]], limits=CapacityLimits(tests_per_hour=1000))
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def alone(rates: list[int], kinds: tuple[str, ...], seconds: int) -> None:
    """Measure lines that nobody else uses."""
    rows: list[list[object]] = []
    for rate in rates:
        theirs: dict[float, tuple[Found, Found]] = {}
        for kind in kinds:
            for burst in (SMALL_SECONDS, LARGE_SECONDS):
                for delay in (0.0, DELAY_SECONDS):
                    with served(shaped(kind, rate, burst, delay)) as laid:
                        if delay not in theirs:
                            theirs[delay] = iperf3(laid, seconds), iperf3(laid, seconds, udp=rate)
                        mine = ours(laid)
                        mine.peak = ours(laid, pinged=True).peak  # on a run of its own: a ping takes some of the line
                        rows.append(_row(_name(kind, rate, burst, delay), rate, mine, theirs[delay], 10 / seconds))
    print(_WHY)
    table(
        f"Capacity of lines that nobody else uses; iperf3 runs {seconds} s",
        (
            "line", "iperf3 TCP", "MB", "iperf3 UDP", "MB", "ours", "kB", "bytes: TCP of 10 s / ours",
            "delay added at peak: TCP, ours, ms", "goals missed",
        ),
        rows,
    )  # fmt: skip


def shared(rates: list[int], seconds: int) -> None:
    """Measure lines of which a paced flow takes half."""
    rows: list[list[object]] = []
    for rate in rates:
        for burst in (SMALL_SECONDS, LARGE_SECONDS):
            for delay in (0.0, DELAY_SECONDS):
                with served(shaped("tbf", rate, burst, delay)) as laid:
                    mine, my_loss, left = beside_others(laid, rate, lambda each=laid: ours(each, pinged=True), 4)
                    theirs, their_loss, _ = beside_others(
                        laid, rate, lambda each=laid: iperf3(each, seconds), seconds + 2
                    )
                percent = 100 * on_the_wire(mine.rate) / left
                missed = _missed(abs(percent - 100) <= GOAL_SHARED, f"rate {percent - 100:+.0f} %")
                missed += _missed(mine.settled, "not settled")
                missed += _missed(not my_loss, f"others lost {my_loss}")
                missed += _missed(mine.peak <= theirs.peak / GOAL_PEAK, f"peak 1/{theirs.peak / mine.peak:.1f}")
                rows.append([
                    _name("tbf", rate, burst, delay), f"{100 * theirs.rate / left:.1f} %", their_loss,
                    f"{percent:.1f} %", my_loss, f"{mine.sent / 1e3:.0f}",
                    f"{theirs.peak * 1e3:.1f}, {mine.peak * 1e3:.1f}", "; ".join(missed) or "none",
                ])  # fmt: skip
    table(
        "Lines of which others take half: available capacity in percent of what the others left",
        (
            "line", "iperf3 TCP", "others lost", "ours", "others lost", "kB", "delay added at peak: TCP, ours, ms",
            "goals missed",
        ),
        rows,
    )  # fmt: skip


def _row(name: str, rate: int, mine: Found, theirs: tuple[Found, Found], longer: float) -> list[object]:
    tcp, udp = theirs
    percent = on_the_wire(mine.rate) / rate / 1e4
    ratio = tcp.sent * longer / mine.sent
    missed = _missed(abs(percent - 100) <= GOAL_OFF, f"rate {percent - 100:+.2f} %")
    missed += _missed(ratio >= GOAL_BYTES, f"bytes 1/{ratio:.0f}")
    missed += _missed(mine.peak <= tcp.peak / GOAL_PEAK, f"peak 1/{tcp.peak / max(mine.peak, 1e-6):.1f}")
    missed += _missed(mine.settled, "not settled")
    return [
        name, f"{tcp.rate / rate / 1e4:.1f} %", f"{tcp.sent / 1e6:.1f}",
        f"{udp.rate / rate / 1e4:.1f} %", f"{udp.sent / 1e6:.1f}", f"{percent:.2f} %", f"{mine.sent / 1e3:.0f}",
        f"{ratio:.0f}", f"{tcp.peak * 1e3:.1f}, {mine.peak * 1e3:.1f}", "; ".join(missed) or "none",
    ]  # fmt: skip


def _missed(reached: bool, words: str) -> list[str]:  # noqa: FBT001  (a goal is reached or not)
    return [] if reached else [words]


def on_the_wire(ip_rate: float) -> float:
    """Convert a rate of IP packets into that of the Ethernet frames that a shaper counts."""
    return ip_rate * (IP_BYTES + ETHERNET_BYTES) / IP_BYTES


def shaped(kind: str, rate: int, burst_seconds: float, delay_seconds: float) -> Shape:
    """Describe a line of so many Mbit/s."""
    bits = rate * 1_000_000
    return Shape(kind, bits, max(3_000, int(bits / 8 * burst_seconds)), QUEUE_SECONDS, delay_seconds)


def _name(kind: str, rate: int, burst: float, delay: float) -> str:
    away = f"{2 * delay * 1e3:.0f} ms" if delay else "direct"
    return f"{kind.upper()} {rate} Mbit/s, burst {burst * 1e3:.0f} ms, {away}"


@contextlib.contextmanager
def served(how: Shape) -> Iterator[Line]:
    """Lay a line with a capacity server at its far end."""
    with line(how) as laid:
        server = laid.start("far", sys.executable, "-m", "bench.capacity", "--serve", laid.target, cwd=ROOT, **_PIPE)
        try:
            server.stdout.readline()
            yield laid
        finally:
            server.kill()
            server.wait()
            server.stdout.close()


_PIPE = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}


def ours(laid: Line, *, pinged: bool = False) -> Found:
    """Run our check as a user would."""
    command = ["check", "run", "capacity", "--target", laid.target, "--format", "json"]
    settings = ["--set", "direction=up", "--set", "skip_above_ratio=1"]
    with ping(laid, 3) if pinged else contextlib.nullcontext([0.0]) as peak:
        before = laid.bytes_sent("near")
        done = laid.run("near", sys.executable, str(ROOT / "nhip.py"), *command, *settings)
        sent = laid.bytes_sent("near") - before
    metrics = json.loads(done.stdout)["metrics"]
    if "capacity_up_bits_per_second" not in metrics:
        raise SystemExit(f"no measurement: {done.stdout}")
    cost = int(metrics["bytes_sent"]) if sent > 2 * metrics["bytes_sent"] else sent  # others' bytes are not ours
    return Found(metrics["capacity_up_bits_per_second"], cost, peak[0], bool(metrics["settled_up"]))


def iperf3(laid: Line, seconds: int, udp: int | None = None) -> Found:
    """Run iperf3 as a user would; `udp` is how many Mbit/s to send, a tenth more than the line carries."""
    server = laid.start("far", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    time.sleep(0.4)
    how = ["-u", "-b", f"{udp * 1.1:.1f}M"] if udp else []
    with ping(laid, seconds + 1) as peak:
        before = laid.bytes_sent("near")
        done = laid.run("near", "iperf3", "-c", laid.target, "-t", str(seconds), "-J", *how)
        sent = laid.bytes_sent("near") - before
    server.wait(20)
    end = json.loads(done.stdout)["end"]
    rate = end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100) if udp else None
    return Found(rate if rate is not None else end["sum_received"]["bits_per_second"], sent, peak[0])


@contextlib.contextmanager
def ping(laid: Line, seconds: int) -> Iterator[list[float]]:
    """Ping a hundred times a second; afterwards the list holds by how much the slowest was slower than the fastest."""
    peak: list[float] = []
    pinging = laid.start("near", "ping", "-n", "-i", "0.01", "-w", str(seconds + 2), laid.target, **_PIPE)
    time.sleep(0.3)
    try:
        yield peak
    finally:
        pinging.send_signal(2)
        said, _ = pinging.communicate(timeout=20)
        times = [float(each) / 1e3 for each in re.findall(r"time=([\d.]+)", said)]
        peak.append(max(times, default=0.0) - min(times, default=0.0))


def beside_others(laid: Line, rate: int, measure: object, seconds: int) -> tuple[Found, int, float]:
    """Measure beside a flow of half the rate; return also what it lost, and what it left of the rate."""
    here = [sys.executable, "-m", "bench.traffic"]
    receiver = laid.start("far", *here, "receive", laid.target, str(seconds + 5), cwd=ROOT, **_PIPE)
    receiver.stdout.readline()
    sender = laid.start("near", *here, "send", laid.target, str(rate * 5e5), str(seconds + 1), cwd=ROOT, **_PIPE)
    time.sleep(0.5)
    found = measure()  # type: ignore[operator]  # a function of ours
    sender.wait(60)
    sender.stdout.close()
    counts = json.loads(receiver.communicate(timeout=60)[0])
    return found, counts["sent"] - counts["came"], rate * 5e5


if __name__ == "__main__":
    main()
