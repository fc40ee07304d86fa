"""Networks made of namespaces: nodes, links between them, a chain of routers, machines on one bridge."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

ROUTER = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.icmp_ratelimit=0",  # tests repeat in a second what an agent does in minutes
    "net.ipv6.icmp.ratelimit=0",
    "net.ipv4.icmp_errors_use_inbound_ifaddr=1",  # as most routers but Linux's do
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.all.send_redirects=0",
)


class Node:
    """One machine: a network namespace."""

    def __init__(self, name: str) -> None:
        """Take the name of its namespace."""
        self.name = name

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program there and return what it said."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *argv],
            check=False, timeout=60, capture_output=True, text=True, cwd=ROOT, input=stdin,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def ip(self, *lines: str) -> None:
        """Run lines of `ip`."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def sysctl(self, *settings: str) -> None:
        """Set what the kernel of this machine does."""
        self.run("sysctl", "-qw", *settings)

    def nft(self, hook: str, rule: str) -> None:
        """Let this machine's firewall treat packets of one hook by a rule."""
        self.run("nft", f"add table inet t; add chain inet t {hook} {{ type filter hook {hook} priority 0; }}")
        self.run("nft", f"add rule inet t {hook} {rule}")

    def nhip(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `nhip` there."""
        return self.run(sys.executable, "nhip.py", *words, check=False)

    def measure(self, check: str, target: str, **parameters: object) -> dict[str, Any]:
        """Run a check there by `nhip check run` and return what it found, and its exit code as `exit`."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
        words = [f"--set={name}={text}" for name, text in texts.items()]
        done = self.nhip("check", "run", check, "--target", target, "--format", "json", *words)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit": done.returncode}


_AGENT = """
import asyncio, dataclasses, json, sys
from checks import registry
from checks.run import run
for line in sys.stdin:
    name, target, parameters = json.loads(line)
    result = asyncio.run(run(registry.make(name, parameters), target, site="s", node="n"))
    print(json.dumps(dataclasses.asdict(result)), flush=True)
"""


class Agent:
    """One process that keeps what its checks remember from one measurement to the next."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take the process that speaks `_AGENT`."""
        self._process = process

    def measure(self, check: str, target: str, **parameters: object) -> dict[str, Any]:
        """Measure once more and return what was found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([check, target, parameters]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line.startswith("{"), line + self._process.stdout.read()
        return dict(json.loads(line))


class Lab:
    """Machines that a test makes and wires; all is gone when the test ends."""

    def __init__(self) -> None:
        """Begin without any."""
        self._tag = uuid.uuid4().hex[:6]
        self._nodes: list[Node] = []
        self._processes: list[subprocess.Popen[str]] = []

    def node(self, *settings: str) -> Node:
        """Make a machine, with what its kernel is to do."""
        node = Node(f"nhip-{self._tag}-{len(self._nodes)}")
        made = subprocess.run(["ip", "netns", "add", node.name], check=False, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"cannot make a network namespace here: {made.stderr.strip()}")
        self._nodes.append(node)
        node.ip("link set lo up")
        node.sysctl("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", *settings)
        return node

    def link(self, left: Node, right: Node, subnet: int, names: tuple[str, str] = ("right", "left")) -> None:
        """Wire two machines: 10.92.N.1 and fd92:N::1 on the left, .2 and ::2 on the right."""
        left.ip(f"link add {names[0]} type veth peer name {names[1]} netns {right.name}")
        for node, name, last in ((left, names[0], 1), (right, names[1], 2)):
            node.ip(
                f"address add 10.92.{subnet}.{last}/24 dev {name}",
                f"address add fd92:{subnet}::{last}/64 dev {name} nodad",
                f"link set {name} up",
            )

    def lan(self, machines: int) -> list[Node]:
        """Make machines on one bridge: number N, from 0, has `eth0` with 02:92:00:00:00:0N and 10.92.0.N+1."""
        switch, nodes = self.node(), [self.node() for _ in range(machines)]
        switch.ip("link add bridge type bridge mcast_snooping 0", "link set bridge up")
        for number, node in enumerate(nodes):
            mac = f"02:92:00:00:00:{number:02x}"
            node.ip(f"link add eth0 address {mac} type veth peer name port{number} netns {switch.name}")
            node.ip(f"address add 10.92.0.{number + 1}/24 dev eth0", "link set eth0 up")
            switch.ip(f"link set port{number} master bridge", f"link set port{number} up")
        return nodes

    def started(self, node: Node, *argv: str) -> subprocess.Popen[str]:
        """Start a program on a machine that ends with the test; it may be spoken to."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", node.name, *argv],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def agent(self, node: Node) -> Agent:
        """Start a process on a machine that measures several times, as an agent does."""
        return Agent(self.started(node, sys.executable, "-c", _AGENT))

    def close(self) -> None:
        """End the programs and take the machines away."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.communicate(timeout=20)
        for node in self._nodes:
            subprocess.run(["ip", "netns", "delete", node.name], check=False)


@contextlib.contextmanager
def made_lab() -> Iterator[Lab]:
    """Give a laboratory for the length of a block."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make a network namespace")
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()


class Chain:
    """A host, routers in a row, and a far machine: hop N is 10.92.N-1.2 (fd92:N-1::2), the last of them the far one."""

    def __init__(self, lab: Lab, routers: int = 4) -> None:
        """Make and wire them."""
        self.host, self.far = lab.node(), lab.node("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        self.routers = [lab.node(*ROUTER) for _ in range(routers)]
        nodes = [self.host, *self.routers, self.far]
        for number in range(len(nodes) - 1):
            lab.link(nodes[number], nodes[number + 1], number)
        for number, node in enumerate(nodes):
            node.ip(*self._routes(number, len(nodes) - 1))
        self.target, self.target6 = f"10.92.{routers}.2", f"fd92:{routers}::2"

    def wait_for_ipv6(self) -> Self:
        """Return once neighbours find each other: the kernel's multicast groups come up to a second late."""
        deadline = time.monotonic() + 20
        while self.host.run("ping", "-c1", "-W1", self.target6, check=False).returncode:
            assert time.monotonic() < deadline, "IPv6 did not come up"
        return self

    @staticmethod
    def _routes(number: int, links: int) -> list[str]:
        """Return the routes of one machine: to the left by its left neighbour, to all else by its right."""
        lines = []
        for link in range(links):
            if link < number - 1:
                lines += [f"route add 10.92.{link}.0/24 via 10.92.{number - 1}.1"]
                lines += [f"route add fd92:{link}::/64 via fd92:{number - 1}::1"]
            elif link > number:
                lines += [f"route add 10.92.{link}.0/24 via 10.92.{number}.2"]
                lines += [f"route add fd92:{link}::/64 via fd92:{number}::2"]
        return lines
