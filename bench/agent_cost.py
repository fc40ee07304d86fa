"""What an agent costs: 20 checks every 10 s, beside blackbox exporter doing the same probes in the same minutes.

    python bench/agent_cost.py [--seconds 120]

10 ICMP, 5 TCP, 3 HTTP and 2 DNS, one packet or request each, all against this machine itself. The agent also writes
each result to its spool and uploads it; blackbox exporter is asked for its probes over one kept connection, as
Prometheus does. CPU is user and system time from /proc/PID/stat with children, after a settling time; memory is from
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
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
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


class Cost(NamedTuple):
    """What a process took: seconds of CPU an hour, and mebibytes."""

    cpu_seconds_hour: float
    rss: float
    pss: float


def main() -> None:
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
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        agent, blackbox = compare(Path(folder), stack, options.seconds)
    print(table(agent, blackbox, options.seconds))


def compare(folder: Path, stack: contextlib.ExitStack, seconds: float) -> tuple[Cost, Cost]:
    """Run both side by side and return what each took."""
    dns, web, sink, *ports = (free_port() for _ in range(11))
    probes = the_twenty(ports[:5], ports[5:8], dns)
    here = [sys.executable, __file__, "--serve", str(sink), *map(str, ports)]
    start(stack, folder / "servers.log", here)
    start(stack, folder / "dns.log", dnsmasq(dns))
    agent_config, blackbox_config = folder / "agent.yml", folder / "blackbox.yml"
    agent_config.write_text(json.dumps(agent_settings(folder, sink, probes)))
    blackbox_config.write_text(json.dumps(blackbox_settings()))
    for port in (sink, *ports):
        wait_for(port)
    command = [sys.executable, str(ROOT / "nhip.py"), "agent", "run", "--config", str(agent_config)]
    agent = start(stack, folder / "agent.log", command, environment=AGENT_ENVIRONMENT)
    listen = ["--web.listen-address", f"127.0.0.1:{web}", "--log.level", "error"]
    command = ["prometheus-blackbox-exporter", "--config.file", str(blackbox_config), *listen]
    blackbox = start(stack, folder / "blackbox.log", command)
    wait_for(web)
    stop = threading.Event()
    prometheus = threading.Thread(target=scrape, args=(web, probes, stop))
    prometheus.start()
    stack.callback(prometheus.join)
    stack.callback(stop.set)
    time.sleep(SETTLE_SECONDS)
    before = [cpu_seconds(process.pid) for process in (agent, blackbox)]
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(0.5)
        if agent.poll() is not None or blackbox.poll() is not None:
            sys.exit((folder / "agent.log").read_text() + (folder / "blackbox.log").read_text())
    took = time.monotonic() - began
    costs = [
        Cost((cpu_seconds(process.pid) - then) / took * 3600, *memory(process.pid))
        for process, then in zip((agent, blackbox), before, strict=True)
    ]
    check_that_it_measured(sink, took)
    print((folder / "agent.log").read_text(), file=sys.stderr, end="")
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


def start(
    stack: contextlib.ExitStack, log: Path, command: list[str], environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that ends with the stack."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | (environment or {}))
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def check_that_it_measured(sink: int, seconds: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sink, timeout=10)
    connection.request("GET", "/")
    uploads = int(connection.getresponse().read())
    connection.close()
    if uploads < seconds / EVERY_SECONDS:
        sys.exit(f"the agent uploaded only {uploads} times in {seconds:.0f} s")
    print(f"{uploads} uploads", file=sys.stderr)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children (proc(5): fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional set size in mebibytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(re.findall(rf"^{name}: +(\d+)", text, re.MULTILINE)[0]) / 1024 for name in ("Rss", "Pss"))
    return rss, pss


def table(agent: Cost, blackbox: Cost, seconds: float) -> str:
    ratios = [f"**{ours / theirs:.2f}**" for ours, theirs in zip(agent, blackbox, strict=True)]
    rows = [
        f"20 checks every {EVERY_SECONDS:g} s, {seconds:g} s:",
        "",
        "| process | CPU-seconds an hour | RSS | PSS |",
        "|---|---|---|---|",
        *(
            f"| {name} | {cost.cpu_seconds_hour:.1f} | {cost.rss:.1f} MiB | {cost.pss:.1f} MiB |"
            for name, cost in (("nhip agent", agent), ("prometheus-blackbox-exporter", blackbox))
        ),
        f"| **ratio** | {' | '.join(ratios)} |",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
