"""How wrong a reported round trip is, beside peers: what each tool says minus what a capture saw of the same packets.

    python -m bench.accuracy [--packets 400]

Two ends in network namespaces of their own; the tools run at one, and tcpdump on that end's interface is the truth,
for each packet by itself. Idle and with four busy processes on two cores, over a direct path and over one of 5 ms. For
STAMP the reflector's own time is taken out, and the truth needs a capture at either end.

What is printed in steps of 10 µs (fping and ping beyond 1 ms) carries up to 5 µs of rounding. Needs root, tcpdump,
fping, ping, irtt and prometheus-blackbox-exporter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import icmplib

from bench.capture import capture, echo_round_trips, exchanges
from bench.common import ROOT, machine, table
from bench.lines import Line, Shape, line
from checks.address import literal
from checks.icmp_echo import IcmpEcho, Train
from checks.icmp_socket import EchoSocket
from checks.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY_SECONDS = 0.01
TARGET = Line.target
SHAPED = 10_000_000_000
BUSY_PROCESSES = 4
WEB = 9115
STAMP_KEY, IRTT_KEY = slice(0, 4), slice(12, 16)


def main() -> None:
    """Measure every tool on every path and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=400, help="of each tool in each case (default %(default)s)")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        print(json.dumps(INSIDE[options.be](options.packets)))
        return
    programs = ("tcpdump", "fping", "ping", "irtt", "prometheus-blackbox-exporter")
    missing = [each for each in programs if not shutil.which(each)]
    if missing:
        sys.exit(f"missing: apt-get install {' '.join(missing)}")
    for path, delay_seconds in (("direct", 0.0), ("5 ms path", 0.0025)):
        with line(Shape("htb", SHAPED, 1_000_000, delay_seconds=delay_seconds)) as wire:
            for load in ("idle", "both cores busy"):
                with busy(BUSY_PROCESSES if load != "idle" else 0):
                    echo(wire, f"{path}, {load}", options.packets)
                    stamp(wire, f"{path}, {load}", options.packets)
    print(f"\n{machine()}")


def echo(wire: Line, case: str, packets: int) -> None:
    """Compare the tools that send ICMP echo."""
    rows = []
    for name, tool in ECHO.items():
        with capture(wire, "near", "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply") as seen:
            told = tool(wire, packets)
        rows.append(row(name, told, [None if each is None else each / 1e9 for each in echo_round_trips(seen.packets)]))
    show(f"ICMP echo: error of a reported round trip, {case}, {packets} packets, µs", rows)


def stamp(wire: Line, case: str, packets: int) -> None:
    """Compare STAMP and irtt, each against its own server; their servers' time is in neither."""
    rows = []
    for name, server, port, key in (
        ("nhip stamp", [sys.executable, "nhip.py", "reflector", "run", "--listen", f"{TARGET}:862"], 862, STAMP_KEY),
        ("irtt", ["irtt", "server", "-b", TARGET, "-i", "0", "-d", "0", "-l", "0"], 2112, IRTT_KEY),
    ):
        process = wire.start("far", *server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        try:
            time.sleep(2)
            with capture(wire, "near", f"udp port {port}") as near, capture(wire, "far", f"udp port {port}") as far:
                told = STAMP[name](wire, packets)
        finally:
            process.terminate()
            process.wait(10)
        here, there = exchanges(near.packets, port, key), exchanges(far.packets, port, key)
        truth = {each: span(here[each]) - span(there[each]) for each in here.keys() & there}
        rows.append(row(name, list(told.values()), [truth.get(number) for number in told]))
    show(f"two-way: error of a round trip without the reflector's time, {case}, {packets} packets, µs", rows)


def span(instants: tuple[int, int]) -> float:
    """Return the seconds between two instants in nanoseconds."""
    return (instants[1] - instants[0]) / 1e9


def row(name: str, told: list[float | None], true: list[float | None]) -> list[object]:
    """Return a table's row: percentiles of the error's size, and the median of the error itself."""
    if len(told) != len(true):
        return [name, f"told of {len(told)} packets, {len(true)} were seen", "", "", "", ""]
    errors = [(t - c) * 1e6 for t, c in zip(told, true, strict=True) if t is not None and c is not None]
    if not errors:
        return [name, "nothing to compare", "", "", "", ""]
    size = sorted(abs(each) for each in errors)
    at = [f"{size[min(len(size) - 1, int(len(size) * share))]:.1f}" for share in (0.5, 0.95, 0.99)]
    return [name, *at, f"{size[-1]:.1f}", f"{sorted(errors)[len(errors) // 2]:+.1f}", len(errors)]


def show(title: str, rows: list[list[object]]) -> None:
    """Print one table."""
    table(title, ("tool", "p50", "p95", "p99", "largest", "median of the error", "packets"), rows)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the cores busy for the length of a block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def inside(name: str) -> Callable[[Line, int], list[float | None]]:
    """Return a tool that is this file, run at the near end."""

    def tool(wire: Line, packets: int) -> list[float | None]:
        done = wire.run("near", sys.executable, "-m", "bench.accuracy", "--be", name, "--packets", str(packets))
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads(done.stdout)  # type: ignore[no-any-return]  # what INSIDE wrote

    return tool


def be_icmp_echo(packets: int) -> list[float | None]:
    """Send our own train and return what it made of each packet."""

    async def train() -> list[float | None]:
        plan = IcmpEcho(count=packets, interval_seconds=EVERY_SECONDS, timeout_seconds=600)
        with EchoSocket(literal(TARGET)[0], None, plan.payload_bytes) as sock:
            train = Train(sock, plan, time.perf_counter() + 600)
            await train.run()
        return train.packets.round_trips()

    return asyncio.run(train())


def be_stamp(packets: int) -> list[float | None]:
    """Send our own test packets and return the round trip of each."""

    async def train() -> list[float | None]:
        plan = Stamp(count=packets, interval_seconds=EVERY_SECONDS, timeout_seconds=600)
        session = await plan.open(TARGET)
        await session.train(packets)
        told = session.take()
        session.close()
        return [None if each is None else each.round_trip_seconds for each in told]

    return asyncio.run(train())


def be_icmplib(packets: int) -> list[float | None]:
    """Send icmplib's packets one by one, so that a lost one keeps its place."""
    told: list[float | None] = []
    for _ in range(packets):
        host = icmplib.ping(TARGET, count=1, interval=0, timeout=2)
        told.append(host.rtts[0] / 1e3 if host.rtts else None)
        time.sleep(EVERY_SECONDS)
    return told


def be_blackbox(packets: int) -> list[float | None]:
    """Run blackbox exporter here and ask it for one probe after the other."""
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
        config = Path(folder, "blackbox.yml")
        config.write_text(json.dumps({"modules": {"icmp": {"prober": "icmp", "timeout": "2s"}}}), encoding="utf-8")
        program = ["prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{WEB}"]
        process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2)
            connection = http.client.HTTPConnection("127.0.0.1", WEB, timeout=10)
            told = []
            for _ in range(packets):
                connection.request("GET", f"/probe?{urlencode({'module': 'icmp', 'target': TARGET})}")
                found = re.search(rb'probe_icmp_duration_seconds\{phase="rtt"\} (\S+)', connection.getresponse().read())
                told.append(float(found[1]) if found and float(found[1]) else None)
                time.sleep(EVERY_SECONDS)
            connection.close()
        finally:
            process.terminate()
            process.wait(10)
    return told


def fping(wire: Line, packets: int) -> list[float | None]:
    """Run fping and read the times that it prints."""
    words = ("-q", "-r0", f"-p{EVERY_SECONDS * 1000:g}", "-t2000", f"-C{packets}", TARGET)
    done = wire.run("near", "fping", *words, seconds=300)
    return [None if each == "-" else float(each) / 1e3 for each in done.stderr.split(":", 1)[1].split()]


def iputils_ping(wire: Line, packets: int) -> list[float | None]:
    """Run ping and read the times that it prints."""
    done = wire.run("near", "ping", "-n", f"-c{packets}", f"-i{EVERY_SECONDS:g}", "-W2", TARGET, seconds=300)
    printed = re.findall(r"icmp_seq=(\d+) ttl=\d+ time=(\S+) ms", done.stdout)
    told = {int(number): float(ms) / 1e3 for number, ms in printed}
    return [told.get(number) for number in range(1, packets + 1)]


def stamp_told(wire: Line, packets: int) -> dict[bytes, float | None]:
    """Run our own sender and return the round trip of each packet, by its number as it stands on the wire."""
    told = inside("stamp")(wire, packets)
    return {number.to_bytes(4, "big"): each for number, each in enumerate(told)}


def irtt(wire: Line, packets: int) -> dict[bytes, float | None]:
    """Run irtt and return the round trip of each packet, by its number as it stands on the wire."""
    seconds = packets * EVERY_SECONDS
    words = ("client", "-Q", "-i", f"{EVERY_SECONDS * 1000:g}ms", "-d", f"{seconds * 1000:g}ms", "-o", "-", TARGET)
    done = wire.run("near", "irtt", *words, seconds=seconds + 60)
    told = json.loads(done.stdout)["round_trips"]
    return {each["seqno"].to_bytes(4, "little"): each["delay"].get("rtt", 0) / 1e9 or None for each in told}


INSIDE: dict[str, Callable[[int], list[float | None]]] = {
    "icmp_echo": be_icmp_echo,
    "stamp": be_stamp,
    "icmplib": be_icmplib,
    "blackbox": be_blackbox,
}
ECHO: dict[str, Callable[[Line, int], list[float | None]]] = {
    "nhip icmp_echo": inside("icmp_echo"),
    "fping": fping,
    "ping": iputils_ping,
    "icmplib": inside("icmplib"),
    "blackbox exporter": inside("blackbox"),
}
STAMP = {"nhip stamp": stamp_told, "irtt": irtt}


if __name__ == "__main__":
    main()
