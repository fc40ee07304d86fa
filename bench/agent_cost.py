"""What an agent costs: 20 checks every 10 s, beside blackbox exporter doing the same probes in the same minutes.

    python -m bench.agent_cost [--seconds 120]

10 ICMP, 5 TCP, 3 HTTP and 2 DNS, one packet or request each, all against this machine itself. The agent also writes
each result to its spool and uploads it; blackbox exporter is asked for its probes over one kept connection, as
Prometheus does. CPU is user and system time of all threads from /proc/PID/task/*/schedstat, in nanoseconds, after a
settling time (/proc/PID/stat counts in steps of 10 ms, 3 % of what there is to count); memory is from
/proc/PID/smaps_rollup at the end. Needs dnsmasq and prometheus-blackbox-exporter, and root (for ICMP).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from bench.common import ROOT, Server, free_port, machine, table

EVERY_SECONDS = 10.0
SETTLE_SECONDS = 12.0
NAMES = ("portal.example", "mail.example")
# As in agents/nhip-agent.service.
AGENT_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


class Probe(NamedTuple):
    """One of the 20: the agent's check and target, its parameters, and blackbox exporter's module."""

    check: str
    target: str
    parameters: dict[str, object]
    module: str
    blackbox_target: str


class Used(NamedTuple):
    """What a process took until now: seconds of CPU, and how often its threads went to sleep and were woken."""

    cpu_seconds: float
    wakes: int


class Cost(NamedTuple):
    """What a process took: seconds of CPU an hour, wake-ups a second, and mebibytes."""

    cpu_seconds_hour: float
    wakes_second: float
    rss: float
    pss: float


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to measure (default %(default)s)")
    parser.add_argument("--serve", nargs="*", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(*options.serve))
        return
    for program in ("dnsmasq", "prometheus-blackbox-exporter"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install {program}")
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder, contextlib.ExitStack() as stack:
        agent, blackbox = compare(Path(folder), stack, options.seconds)
    show(agent, blackbox, options.seconds)


def compare(folder: Path, stack: contextlib.ExitStack, seconds: float) -> tuple[Cost, Cost]:
    """Run both side by side and return what each took."""
    dns, web, sink, *ports = (free_port() for _ in range(11))
    probes = the_twenty(ports[:5], ports[5:8], dns)
    collector = start(stack, [sys.executable, "-m", "bench.agent_cost", "--serve", str(sink), *map(str, ports)], sink)
    start(stack, dnsmasq(dns), dns)
    blackbox = start(stack, exporter(folder, web), web).process
    agent = start_agent(stack, folder, agent_settings(folder, sink, probes))
    stop = threading.Event()
    prometheus = threading.Thread(target=scrape, args=(web, probes, stop))
    prometheus.start()
    stack.callback(prometheus.join)
    stack.callback(stop.set)
    time.sleep(SETTLE_SECONDS)
    before, began = [used(process.pid) for process in (agent, blackbox)], time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(0.5)
        if agent.poll() is not None or blackbox.poll() is not None:
            sys.exit((folder / "agent.log").read_text(encoding="utf-8") or "blackbox exporter ended")
    took = time.monotonic() - began
    costs = [cost(process.pid, then, took) for process, then in zip((agent, blackbox), before, strict=True)]
    uploads = int(collector.get("/"))
    if uploads < seconds / EVERY_SECONDS:
        sys.exit(f"the agent uploaded only {uploads} times in {seconds:.0f} s")
    print(f"{uploads} uploads", file=sys.stderr)
    return costs[0], costs[1]


def the_twenty(tcp: list[int], web: list[int], dns: int) -> list[Probe]:
    """Return the probes, the same for both."""
    icmp = [f"127.0.0.{host}" for host in range(1, 11)]
    return [
        *(Probe("icmp_echo", host, {"count": 1}, "icmp", host) for host in icmp),
        *(Probe("tcp_connect", f"127.0.0.1:{port}", {}, "tcp", f"127.0.0.1:{port}") for port in tcp),
        *(Probe("http_get", url, {}, "http", url) for url in (f"http://127.0.0.1:{port}/" for port in web)),
        *(
            Probe("dns_query", name, {"server": "127.0.0.1", "port": dns}, f"dns_{name}", f"127.0.0.1:{dns}")
            for name in NAMES
        ),
    ]


def agent_settings(folder: Path, sink: int, probes: list[Probe]) -> dict[str, object]:
    token = folder / "token"
    token.write_text("bench")
    token.chmod(0o600)
    return {
        "site": "31120",
        "node": "bench",
        "data": str(folder / "data"),
        "collector": {"url": f"http://127.0.0.1:{sink}", "token_file": str(token)},
        "checks": [
            {"check": p.check, "target": p.target, "interval_seconds": EVERY_SECONDS, "with": p.parameters}
            for p in probes
        ],
    }


def blackbox_settings() -> dict[str, object]:
    modules: dict[str, object] = {
        "icmp": {"prober": "icmp", "timeout": "5s"},
        "tcp": {"prober": "tcp", "timeout": "5s"},
        "http": {"prober": "http", "timeout": "5s"},
    }
    for name in NAMES:
        modules[f"dns_{name}"] = {"prober": "dns", "timeout": "5s", "dns": {"query_name": name, "query_type": "A"}}
    return {"modules": modules}


def scrape(port: int, probes: list[Probe], stop: threading.Event) -> None:
    """Ask blackbox exporter for each probe every 10 s, spread over the interval, as Prometheus does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    began, turn = time.monotonic(), 0
    while not stop.wait(max(0.0, began + turn * EVERY_SECONDS / len(probes) - time.monotonic())):
        probe = probes[turn % len(probes)]
        query = urlencode({"module": probe.module, "target": probe.blackbox_target})
        connection.request("GET", f"/probe?{query}", headers={"Accept-Encoding": "gzip"})
        connection.getresponse().read()
        turn += 1
    connection.close()


async def serve(sink: int, *ports: int) -> None:
    """Be the collector at the first port, and what is measured: 5 ports that accept, and 3 that speak HTTP."""
    received = [0]

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"POST"):
                    received[0] += 1
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    body = str(received[0]).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    for index, port in enumerate((sink, *ports)):
        await asyncio.start_server(accept if 1 <= index <= 5 else answer, "127.0.0.1", port)
    await asyncio.Event().wait()


def dnsmasq(port: int) -> list[str]:
    words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]
    names = [f"--address=/{name}/192.0.2.1" for name in NAMES]
    return [*words, f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", *names]


def exporter(folder: Path, port: int) -> list[str]:
    """Return the command of blackbox exporter."""
    config = folder / "blackbox.yml"
    config.write_text(json.dumps(blackbox_settings()), encoding="utf-8")
    listen = ["--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"]
    return ["prometheus-blackbox-exporter", "--config.file", str(config), *listen]


def start(stack: contextlib.ExitStack, command: list[str], port: int) -> Server:
    """Start a server that ends with the stack."""
    server = Server(command, port)
    stack.callback(server.stop)
    return server


def start_agent(stack: contextlib.ExitStack, folder: Path, settings: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start the agent, as its unit does; it ends with the stack."""
    config = folder / "agent.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, str(ROOT / "nhip.py"), "agent", "run", "--config", str(config)]
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | AGENT_ENVIRONMENT)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def used(pid: int) -> Used:
    """Return what the threads of a process took since they began; one that ends meanwhile takes its share along."""
    nanoseconds = wakes = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds += int((task / "schedstat").read_text(encoding="ascii").split()[0])
            wakes += int(
                re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)[0]
            )
    return Used(nanoseconds / 1e9, wakes)


def cost(pid: int, before: Used, seconds: float) -> Cost:
    """Return what a process took since `before`, and its resident and proportional set size."""
    now = used(pid)
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    rss, pss = (int(re.findall(rf"^{name}: +(\d+)", text, re.MULTILINE)[0]) / 1024 for name in ("Rss", "Pss"))
    spent = now.cpu_seconds - before.cpu_seconds
    return Cost(spent / seconds * 3600, (now.wakes - before.wakes) / seconds, rss, pss)


def show(agent: Cost, blackbox: Cost, seconds: float) -> None:
    """Print what each took, and the ratios."""
    rows = [
        [name, f"{each.cpu_seconds_hour:.1f}", f"{each.wakes_second:.1f}", f"{each.rss:.1f} MiB", f"{each.pss:.1f} MiB"]
        for name, each in (("nhip agent", agent), ("prometheus-blackbox-exporter", blackbox))
    ]
    rows.append(["**ratio**", *(f"**{ours / theirs:.2f}**" for ours, theirs in zip(agent, blackbox, strict=True))])
    title = f"What an agent costs: 20 checks every {EVERY_SECONDS:g} s, for {seconds:g} s"
    table(title, ["process", "CPU-seconds an hour", "wake-ups a second", "RSS", "PSS"], rows)
    print(f"\nmachine: {machine()}")


if __name__ == "__main__":
    main()
