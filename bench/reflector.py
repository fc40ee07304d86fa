"""How many test packets a second the reflector answers on one core without losing any, and what the nation costs it.

    python -m bench.reflector [--seconds 3]

`nhip reflector run` on one core; on the other a sender with 3,321 sessions, in batches and paced. The rate rises until
packets are lost. The nation at its default of 2 packets a second a site needs 6,642.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.common import ROOT, machine, table
from checks import stamp_wire as wire
from checks.mmsg import Incoming, Outgoing

SITES = 3_321
NATION = 2 * SITES
RATES = (5_000, NATION, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 50_000, 60_000, 80_000)
BATCH = 32
KEY = bytes(range(32))
ROW_BYTES = 128


def main() -> None:
    """Measure each mode and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="at each rate (default %(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {0})
    rows = []
    for name, key, follow_up in (
        ("plain (RFC 8762)", None, False),
        ("with follow-up telemetry, our default", None, True),
        ("authenticated, with follow-up telemetry", KEY, True),
    ):
        rows.append((name, *ramp(key, options.seconds, follow_up=follow_up)))
    header = ("mode", "packets a second without loss", "at the next rate lost", f"CPU at {NATION:,} a second", "memory")
    table(f"the reflector on one core, {SITES:,} senders, {options.seconds:g} s at each rate", header, rows)
    print(f"\n{machine()}")


def ramp(key: bytes | None, seconds: float, *, follow_up: bool) -> tuple[str, str, str, str]:
    """Raise the rate until packets are lost; return the best rate, the loss beyond it, the nation's CPU, and memory."""
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
        process, port = start(Path(folder), key)
        try:
            sender = Sender(port, key, follow_up=follow_up)
            best, beyond, nation = 0, "nothing", ""
            for rate in RATES:
                before = cpu(process.pid)
                sent, back = sender.load(rate, seconds)
                used = (cpu(process.pid) - before) / seconds
                if rate == NATION:
                    nation = f"{used:.1%} of a core"
                if back < sent:
                    beyond = f"{1 - back / sent:.2%} of {rate:,}"
                    break
                best = round(sent / seconds)
                if best < 0.97 * rate:
                    beyond = "not known: the sender cannot send faster"
                    break
            memory = psutil.Process(process.pid).memory_info().rss / 2**20
            sender.sock.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    return f"{best:,}", beyond, nation, f"{memory:.1f} MiB"


def start(folder: Path, key: bytes | None) -> tuple[subprocess.Popen[str], int]:
    """Start a reflector on core 1 that takes any rate from one source; return it and its port."""
    lines = ["listen: ['127.0.0.1:8620']", "limits: {packets_per_second: 1000000, burst: 1000000}"]
    if key is not None:
        file = folder / "key"
        file.write_text(key.hex(), encoding="ascii")
        file.chmod(0o600)
        lines.append("authenticated: true")
        lines.append("senders:")
        lines += [f"  - {{site: '{ssid}', ssid: {ssid}, key_file: {file}}}" for ssid in range(1, SITES + 1)]
    config = folder / "reflector.yml"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    config.write_text("\n".join(lines).replace("8620", str(port)) + "\n", encoding="utf-8")
    command = ["taskset", "-c", "1", sys.executable, "-m", "nhip", "reflector", "run", "--config", str(config)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None  # noqa: S101  (for mypy)
    if "reflecting" not in process.stdout.readline():
        raise SystemExit("the reflector does not start")
    return process, port


class Sender:
    """3,321 sessions from one socket, told apart by their identifiers."""

    def __init__(self, port: int, key: bytes | None, *, follow_up: bool) -> None:
        """Lay out a packet for each session."""
        self.extension = wire.extension(wire.FOLLOW_UP, bytes(wire.FOLLOW_UP_BYTES)) if follow_up else b""
        where = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
        self.key, self.turns = key, 0
        size = len(wire.encode_request(wire.Request(0, 0, 1, 1, self.sealed(0)), key))
        self.outgoing, self.incoming = Outgoing([where] * SITES, size), Incoming(256, ROW_BYTES, 64)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 * 2**20)  # SO_RCVBUFFORCE: the sender must not be who loses

    def sealed(self, turn: int) -> bytes:
        """Return the extension as it goes along with a packet of this number."""
        if self.key is None or not self.extension:
            return self.extension
        return wire.seal_extensions(self.extension, self.key, turn)

    def load(self, rate: int, seconds: float) -> tuple[int, int]:
        """Send at a steady rate; return how many packets were sent and how many came back."""
        sent = back = 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            first = sent % SITES
            due = min(int(elapsed * rate) - sent, BATCH, SITES - first)
            if due > 0:
                self.fill(first, due, self.turns + sent // SITES)
                sent += self.outgoing.send(self.sock, first, due)
            else:
                time.sleep(0.0002)
            back += sum(self.incoming.batches(self.sock))
        self.turns += sent // SITES + 1
        until = time.perf_counter() + 1
        while back < sent and time.perf_counter() < until:
            time.sleep(0.005)
            back += sum(self.incoming.batches(self.sock))
        return sent, back

    def fill(self, first: int, count: int, turn: int) -> None:
        """Write the packets of some sessions anew."""
        size, extension = self.outgoing.packet_bytes, self.sealed(turn)
        for site in range(first, first + count):
            request = wire.Request(turn, wire.ntp_stamp(time.time_ns()), 1, site + 1, extension)
            self.outgoing.packets[site * size : (site + 1) * size] = wire.encode_request(request, self.key)


def cpu(pid: int) -> float:
    """Return the CPU-seconds a process has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
