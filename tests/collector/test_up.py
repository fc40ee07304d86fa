"""`nhip up`: one clear line when it cannot start, a clean end, and the way out of a machine in a network of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.running import ROOT, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

NHIP = [sys.executable, "-m", "nhip"]


def up(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NHIP, "up", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_what_keeps_it_from_starting_is_one_clear_line(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    a_file = tmp_path / "file"
    a_file.write_text("in the way")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, said in (
            (
                ["--listen", f"127.0.0.1:{port}", "--data", data],
                f"cannot listen on 127.0.0.1:{port}: Address already in use",
            ),
            (["--listen", "127.0.0.1:0", "--data", str(a_file)], f"{a_file} is a file, and the data need a folder"),
            (["--listen", "127.0.0.1:0", "--data", "/proc/nhip"], "cannot write in /proc/nhip"),
            (["--listen", "0.0.0.0:0", "--data", data], "0.0.0.0 is not loopback"),
            (["--listen", "8080", "--data", data], "'8080' is not an address: write host:port"),
            (["--listen", "127.0.0.1:0", "--data", data, "--forget", "x"], "--forget x: no such service is remembered"),
        ):
            tried = up(*words)
            assert tried.returncode == 1, words
            (line,) = tried.stderr.splitlines()
            assert line.startswith(f"nhip up: {said}"), line


class Network:
    """An office and a router with a resolver, in two namespaces joined by a wire."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self.office, self.router = f"nhip-o-{mark}", f"nhip-r-{mark}"
        self.resolver: subprocess.Popen[bytes] | None = None
        self.settings = Path("/etc/netns") / self.office

    def lay(self) -> None:
        for words in (
            f"netns add {self.office}",
            f"netns add {self.router}",
            f"-n {self.office} link add out type veth peer name in netns {self.router}",
            f"-n {self.office} link set lo up",
            f"-n {self.router} link set lo up",
            f"-n {self.office} address add 198.51.100.2/24 dev out",
            f"-n {self.router} address add 198.51.100.1/24 dev in",
            f"-n {self.office} link set out up",
            f"-n {self.router} link set in up",
            f"-n {self.office} route add default via 198.51.100.1",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        self.settings.mkdir(parents=True)
        (self.settings / "resolv.conf").write_text("nameserver 198.51.100.1\n")
        words = "--keep-in-foreground --no-resolv --no-hosts --bind-interfaces --conf-file=/dev/null --pid-file="
        more = ["--user=root", "--listen-address=198.51.100.1", "--address=/localhost/127.0.0.1"]
        self.resolver = subprocess.Popen(["ip", "netns", "exec", self.router, "dnsmasq", *words.split(), *more])

    def take_up(self) -> None:
        if self.resolver is not None:
            self.resolver.kill()
            self.resolver.wait()
        shutil.rmtree(self.settings, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.settings.parent.rmdir()
        for name in (self.office, self.router):
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture
def network() -> Iterator[Network]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    if os.geteuid() != 0 or not shutil.which("ip", path=path) or not shutil.which("dnsmasq", path=path):
        pytest.skip("needs root, iproute2 and dnsmasq to make a network of its own")
    laid = Network()
    try:
        laid.lay()
        yield laid
    finally:
        laid.take_up()


def test_discover_watches_the_way_out_and_a_cut_line_is_seen(network: Network, tmp_path: Path) -> None:
    inside, port = ["ip", "netns", "exec", network.office], free_port()
    options = ["--discover", "--listen", f"127.0.0.1:{port}", "--data", str(tmp_path)]
    running = subprocess.Popen(
        [*inside, *NHIP, "up", *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ask(*words: str) -> Any:
        command = [*inside, *NHIP, *words, "--url", f"http://127.0.0.1:{port}", "--json"]
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return json.loads(asked.stdout) if asked.stdout else {}

    def level(check: str, target: str) -> str:
        signals = ask("status", "here").get("signals", [])
        wanted = ("loss_ratio", "success")
        return next(
            (s["level"] for s in signals if (s["check"], s["target"]) == (check, target) and s["metric"] in wanted), ""
        )

    try:
        for check, target in (
            ("icmp_echo", "198.51.100.1"),
            ("tcp_connect", "198.51.100.1:53"),
            ("dns_query", "localhost"),
        ):
            until(lambda check=check, target=target: level(check, target) == "green", 40, f"a green {check} {target}")
        subprocess.run(["ip", "-n", network.router, "link", "set", "in", "down"], check=True)
        until(lambda: level("icmp_echo", "198.51.100.1") == "red", 40, "a red path")
        places = {incident["cause"]["place"] for incident in ask("incidents", "list")["incidents"]}
        assert "198.51.100.1" in places
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or ())
    ]
    assert not left
