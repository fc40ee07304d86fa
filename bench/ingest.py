"""Points a second on one core: decode, journal, judge and store, beside VictoriaMetrics storing the same bytes.

Points have five fields and come in batches of 1,000 from 66,420 live series: 3,321 sites with 20 targets each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable

from bench.common import Server, collector, free_port, machine, table

Settled = Callable[[], None]
"""Waits until a server has nothing left to do with what it was sent, as far as it tells."""

SITES, TARGETS, BATCH = 3_321, 20, 1_000


def batches(count: int, start_ns: int) -> list[bytes]:
    """Return `count` bodies whose series follow each other, a point of each every 66,420."""
    chance = random.Random(1)
    keys = [
        f"icmp_echo,node=gateway,site={site:05d},target=10.0.{i}.1" for site in range(SITES) for i in range(TARGETS)
    ]
    bodies, number = [], 0
    for _ in range(count):
        lines = []
        for _ in range(BATCH):
            key = keys[number % len(keys)]
            rtt = chance.uniform(0.002, 0.012)
            lines.append(
                f"{key} loss_ratio=0.0,rtt_min_seconds={rtt * 0.9:.6f},rtt_median_seconds={rtt:.6f},"
                f"rtt_p95_seconds={rtt * 1.2:.6f},rtt_max_seconds={rtt * 1.4:.6f} {start_ns + number * 10_000}"
            )
            number += 1
        bodies.append("\n".join(lines).encode())
    return bodies


def send(port: int, path: str, token: str, bodies: list[bytes], senders: int = 4) -> None:
    """Post every body, over a few connections at once."""
    waiting = iter(bodies)
    lock = threading.Lock()
    failed: list[str] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not failed:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            connection.request("POST", path, body, {"Authorization": f"Token {token}"})
            answer = connection.getresponse()
            words = answer.read()
            if answer.status == 429:
                time.sleep(0.05)
                continue
            if answer.status != 204:
                failed.append(f"{answer.status} {words[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"a write was refused: {failed[0]}")


def measure(
    server: Server, path: str, token: str, bodies: list[bytes], warm: int, settled: Settled
) -> dict[str, float]:
    """Return points a wall second and a CPU second for all but the first `warm` bodies, stored and all."""
    send(server.port, path, token, bodies[:warm])
    settled()
    cpu, began = server.cpu_seconds(), time.monotonic()
    send(server.port, path, token, bodies[warm:])
    settled()
    points = (len(bodies) - warm) * BATCH
    wall = time.monotonic() - began
    return {"wall": points / wall, "cpu": points / (server.cpu_seconds() - cpu), "rss": server.resident_mb()}


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=1_000)
    options = parser.parse_args()
    warm = -(-SITES * TARGETS // BATCH) + 1
    bodies = batches(options.batches + warm, time.time_ns())
    found = {}
    with collector(core=0) as (server, token, _):

        def stored() -> None:
            deadline = time.monotonic() + 120
            while server.figure("nhip_store_lag_entries", token) > 0 and time.monotonic() < deadline:
                time.sleep(0.1)

        found["Nhịp: decode, journal, judge, store"] = measure(server, "/api/v2/write", token, bodies, warm, stored)
        delay = server.figure("nhip_verdict_delay_largest_seconds", token)
    if shutil.which("victoria-metrics"):
        with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
            port = free_port()
            command = [
                "victoria-metrics",
                f"-storageDataPath={folder}",
                f"-httpListenAddr=127.0.0.1:{port}",
                "-loggerLevel=ERROR",
            ]
            peer = Server(command, port, core=0)
            try:
                found["VictoriaMetrics: store"] = measure(peer, "/api/v2/write", "", bodies, warm, lambda: None)
            finally:
                peer.stop()
    rows = [[name, f"{f['wall']:,.0f}", f"{f['cpu']:,.0f}", f"{f['rss']:.0f} MB"] for name, f in found.items()]
    table(
        "Ingest on one core, 66,420 series, 5 fields, batches of 1,000",
        ["", "points/s", "points/CPU-s", "memory"],
        rows,
    )
    ours, *peers = found.values()
    for peer_figures in peers:
        print(f"\nratio (ours / VictoriaMetrics, points a CPU-second): {ours['cpu'] / peer_figures['cpu']:.2f}")
    print(f"largest delay from arrival to verdict at that rate: {delay * 1000:.0f} ms\n{machine()}")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
