"""Probes a CPU-second: ICMP echo to all 3,321 communes' gateways, beside fping and icmplib, in turn, in one run.

    python -m bench.sweep [--turns 5]

The gateways are addresses of the far end of a veth pair: every packet crosses a wire and the far end's kernel answers.
CPU is user and system time of the whole process, less that of the same process with one round, so that starting up is
in nobody's figure. Ours is stamped by the kernel at both ends, fping's on arrival, icmplib's not. fping runs with the
options that cost it least here (with its usual interval it naps between packets, which takes four times as much).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import socket
import statistics
import sys
import tempfile

import icmplib

from bench.common import ROOT, machine, table
from bench.lines import Line, Shape, line
from checks.icmp_burst import Burst

COMMUNES = 3_321
ROUNDS = 10


def main() -> None:
    """Run each tool in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="how often each is run (default %(default)s)")
    parser.add_argument("--be", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        be(options.be[0], int(options.be[1]))
        return
    with line(Shape("htb", 10_000_000_000, 1_000_000)) as wire, tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(addresses()) + "\n")
        file.flush()
        wire.run("far", "ip", "route", "add", "local", "10.64.0.0/10", "dev", "lo")
        wire.run("near", "ip", "route", "add", "10.64.0.0/10", "via", "10.1.0.2")
        wire.run("middle", "ip", "route", "add", "10.64.0.0/10", "via", Line.target)
        found = {name: [turn(wire, name, file.name) for _ in range(options.turns)] for name in TOOLS}
    show(found)


def addresses() -> list[str]:
    """Return a made-up gateway for each commune of the country."""
    return [f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}" for number in range(1, COMMUNES + 1)]


def turn(wire: Line, name: str, file: str) -> tuple[float, float]:
    """Run a tool with many rounds and with one; return probes a CPU-second of the difference, and the share back."""
    many, answered = cost(wire, TOOLS[name](file, ROUNDS))
    one, _ = cost(wire, TOOLS[name](file, 1))
    return COMMUNES * (ROUNDS - 1) / max(1e-9, many - one), answered


def cost(wire: Line, command: list[str]) -> tuple[float, float]:
    """Run a command at the near end; return its CPU-seconds, and the share of packets answered as far as it says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = wire.run("near", *command, seconds=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if "fping" in command[0]:
        sent, back = (sum(map(int, column)) for column in zip(*re.findall(r"= (\d+)/(\d+)/", done.stderr), strict=True))
        return used, back / sent
    return used, float(json.loads(done.stdout)) if done.returncode == 0 else sys.exit(done.stderr)


def be(name: str, rounds: int) -> None:
    """Be one of the tools that are Python, and print the share of packets answered."""
    hosts = addresses()
    if name == "icmplib":
        found = icmplib.multiping(hosts, count=rounds, interval=0, timeout=1, concurrent_tasks=50)
        print(sum(host.packets_received for host in found) / (len(hosts) * rounds))
        return

    async def burst() -> None:
        burst = Burst(hosts, socket.AF_INET, 56)
        sweep = await burst.run(rounds, 1e6, 1.0)
        burst.close()
        answered = sum(trip is not None for trips in sweep.round_trips for trip in trips)
        print(answered / (len(hosts) * rounds))

    asyncio.run(burst())


def show(found: dict[str, list[tuple[float, float]]]) -> None:
    """Print the table: medians, and each tool's ratio to fping."""
    peer = statistics.median(rate for rate, _ in found["fping"])
    rows = []
    for name, turns in found.items():
        rates = sorted(rate for rate, _ in turns)
        median = statistics.median(rates)
        spread = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
        rows.append((name, f"{median:,.0f}", spread, f"{median / peer:.2f}", f"{min(a for _, a in turns):.2%}"))
    header = ("tool", "probes a CPU-second, median", "least to most", "ratio to fping", "answered, least")
    table(f"{COMMUNES:,} hosts, {ROUNDS} probes each, {len(turns)} turns", header, rows)
    print(f"\n{machine()}")


def ourselves(name: str) -> list[str]:
    return [sys.executable, "-m", "bench.sweep", "--be", name]


def fping(file: str, rounds: int) -> list[str]:
    return ["fping", "-q", "-i0.001", "-p1000", "-t1000", "-r0", f"-c{rounds}", "-f", file]


TOOLS = {
    "nhip icmp_sweep, stamped at both ends": lambda _, rounds: [*ourselves("nhip"), str(rounds)],
    "fping": fping,
    "icmplib multiping": lambda _, rounds: [*ourselves("icmplib"), str(rounds)],
}


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
