"""What a whole site costs with everything always on (`agents/commune.yml`): the line, counted on the wire, and the box.

    python -m bench.site [--seconds 180]

The commune is a network namespace; in another, at the far end of a wire, stand the real things it talks to: collector
(TLS), reflector, nginx (TLS), dnsmasq, chronyd. tcpdump on the commune's interface counts every frame, by what it is
for; memory and CPU are the agent's own (/proc/PID/smaps_rollup, /proc/PID/task/*/schedstat). Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
import yaml

from agents.status import report
from bench.agent_cost import AGENT_ENVIRONMENT, cost, used
from bench.capture import Seen, capture
from bench.common import ROOT, machine, table
from bench.lines import Line, Shape, line

if TYPE_CHECKING:
    from bench.agent_cost import Cost

NEAR, FAR = "10.1.0.1", Line.target
COLLECTOR, WEB, MAIL = 8443, 443, 993
SETTLE_SECONDS = 20.0
GOAL_BITS_PER_SECOND = 8_000
PURPOSES = {COLLECTOR: "results to the collector", WEB: "http_get", MAIL: "tcp_connect", 862: "stamp", 53: "dns_query"}


def main() -> None:
    """Run a commune and its data centre, count, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="how long to count (default %(default)s)")
    options = parser.parse_args()
    missing = [each for each in ("tcpdump", "nginx", "dnsmasq", "chronyd") if shutil.which(each, path=_path()) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    shape = Shape("htb", 200_000_000, 100_000)
    with (
        tempfile.TemporaryDirectory(prefix="nhip-bench-") as name,
        line(shape) as wire,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        data_centre(wire, folder, stack)
        agent = commune(wire, folder, stack)
        time.sleep(SETTLE_SECONDS)
        with capture(wire, "near", "ip or arp") as seen:
            before, began = used(agent.pid), time.monotonic()
            time.sleep(options.seconds)
            took = time.monotonic() - began
            box = cost(agent.pid, before, took)
        if agent.poll() is not None:
            sys.exit((folder / "agent.log").read_text(encoding="utf-8"))
        print(report(folder / "agent")[1], file=sys.stderr)
        show(seen.packets, took, box)


def data_centre(wire: Line, folder: Path, stack: contextlib.ExitStack) -> None:
    """Start everything that the commune talks to."""
    certify(folder)
    dns = f"--listen-address={FAR} --bind-interfaces --no-resolv --no-hosts --host-record=portal.example,{FAR}"
    dnsmasq = f"--keep-in-foreground --conf-file=/dev/null --user=root --pid-file={folder}/dns.pid {dns}"
    for command in (
        ["nginx", "-p", str(folder), "-c", str(nginx(folder)), "-e", str(folder / "nginx.log")],
        ["dnsmasq", *dnsmasq.split()],
        ["chronyd", "-d", "-x", "-u", "root", "-f", str(chrony(folder))],
        [sys.executable, "-m", "nhip", "reflector", "run", "--listen", f"{FAR}:862"],
        [sys.executable, "-m", "nhip", "collector", "serve", "--config", str(collector(folder))],
    ):
        start(wire, "far", command, folder / f"{Path(command[0]).name}.log", stack)
    time.sleep(4)


def certify(folder: Path) -> None:
    """Write a certificate for the data centre, its key, and the authority's certificate."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    pair = ca.issue_cert(FAR)
    pair.private_key_pem.write_to_path(folder / "key.pem")
    for blob in pair.cert_chain_pems:
        blob.write_to_path(folder / "chain.pem", append=True)


def nginx(folder: Path) -> Path:
    """Write the configuration of the one-stop system's stand-in."""
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; pid {folder}/nginx.pid; user root; events {{}} "
        f"http {{ access_log off; server {{ listen {FAR}:{WEB} ssl; "
        f"ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; charset utf-8; "
        "location / { default_type text/html; return 200 'Cổng dịch vụ công'; } } }",
        encoding="utf-8",
    )
    return file


def chrony(folder: Path) -> Path:
    """Write the configuration of a time server that trusts itself."""
    file = folder / "chrony.conf"
    file.write_text("local stratum 3\nallow all\ncmdport 0\n", encoding="ascii")
    return file


def collector(folder: Path) -> Path:
    """Write the collector's configuration, and make the commune's token."""
    file, data = folder / "collector.yml", folder / "collector"
    data.mkdir()
    tls = {"certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}
    settings = {"listen": f"{FAR}:{COLLECTOR}", "data": str(data), "tls": tls}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "nhip", "token", "new", "--data", str(data), "--site", "31120"]
    token = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (folder / "token").write_text(token, encoding="ascii")
    (folder / "token").chmod(0o600)
    return file


def commune(wire: Line, folder: Path, stack: contextlib.ExitStack) -> subprocess.Popen[str]:
    """Start the agent with the commune's file but for what this line does not see; its addresses are the bench's."""
    lines = (ROOT / "agents/commune.yml").read_text(encoding="utf-8").splitlines()
    left_out = ("check: capacity", "check: lan_hygiene", "check: power")
    text = "\n".join(each for each in lines if not any(one in each for one in left_out)).replace("eth0", "near0")
    for address in ("10.92.0.1", "10.92.0.20", "10.92.0.53", "10.92.0.25"):
        text = (
            text.replace(f"{address}:", f"{FAR}:").replace(f"{address}/", f"{FAR}/").replace(f"{address}}}", f"{FAR}}}")
        )
        text = text.replace(f"{address},", f"{FAR},")
    text = (
        text.replace("192.168.1.1", "127.0.0.1")
        .replace("/etc/nhip", str(folder))
        .replace("10.2.0.1:993", f"{FAR}:{WEB}")
    )
    config = folder / "agent.yml"
    config.write_text(f"data: {folder / 'agent'}\n{text}", encoding="utf-8")
    command = [sys.executable, "-m", "nhip", "agent", "run", "--config", str(config)]
    return start(wire, "near", command, folder / "agent.log", stack)


def start(wire: Line, where: str, command: list[str], log: Path, stack: contextlib.ExitStack) -> subprocess.Popen[str]:
    """Start a program in a namespace; it is ended with the stack."""
    output = stack.enter_context(log.open("a"))
    process = wire.start(
        where,
        *command,
        stdout=output,
        stderr=output,
        cwd=ROOT,
        env={**os.environ, **AGENT_ENVIRONMENT, "PATH": _path()},
    )

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return
        process.kill()
        process.wait()

    stack.callback(end)
    return process


def show(packets: list[Seen], seconds: float, box: Cost) -> None:
    """Print what went over the line, by what it was for, and what the agent took."""
    up, down = Counter[str](), Counter[str]()
    for packet in packets:
        (up if packet.is_from(NEAR) else down)[purpose(packet)] += packet.length * 8
    rows = [
        (name, f"{up[name] / seconds:,.0f}", f"{down[name] / seconds:,.0f}") for name, _ in (up + down).most_common()
    ]
    total = (f"{sum(up.values()) / seconds:,.0f}", f"{sum(down.values()) / seconds:,.0f}")
    header = ("what for", "to the data centre, bit/s", "back, bit/s")
    table(
        f"on the line, Ethernet frames, {seconds:.0f} s (goal: {GOAL_BITS_PER_SECOND:,} each way)",
        header,
        [*rows, ("**all**", *total)],
    )
    table(
        "on the box: the agent with everything always on (goal: 36 MiB, 1 % of a core)",
        ("resident memory", "PSS", "share of a core", "CPU-seconds an hour", "wake-ups a second"),
        [
            (
                f"{box.rss:.1f} MiB",
                f"{box.pss:.1f} MiB",
                f"{box.cpu_seconds_hour / 3600:.2%}",
                f"{box.cpu_seconds_hour:.1f}",
                f"{box.wakes_second:.1f}",
            )
        ],
    )
    print(f"\n{machine()}")


def purpose(packet: Seen) -> str:
    """Say what a packet is for, by its protocol and port."""
    if packet.protocol == 1:
        return "route and path_mtu (ICMP)"
    if packet.protocol not in (6, 17):
        return "other"
    ports = (int.from_bytes(packet.payload[:2], "big"), int.from_bytes(packet.payload[2:4], "big"))
    return next((PURPOSES[port] for port in ports if port in PURPOSES), "ntp_offset" if 123 in ports else "other")


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


if __name__ == "__main__":
    main()
