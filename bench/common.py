"""What every benchmark needs: a collector of its own, a machine described, a table printed."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a TCP port on loopback that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def machine() -> str:
    """Describe this machine in a line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def run_parts(parts: Mapping[str, Callable[[], None]]) -> None:
    """Print the tables that the command line asks for, all by default, and what machine it was."""
    for name in sys.argv[1:] or parts:
        parts[name]()
    print(f"\n{machine()}")


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


class Server:
    """A process that serves on loopback, and what it costs."""

    def __init__(self, command: list[str], port: int, core: int | None = None) -> None:
        """Start it, on one core if asked, and wait until it answers."""
        pinned = ["taskset", "-c", str(core), *command] if core is not None and shutil.which("taskset") else command
        self.port = port
        self.process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self.process.poll() is not None:
                raise SystemExit(f"{command[0]} ended at once")
            time.sleep(0.1)
        raise SystemExit(f"{command[0]} does not answer")

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def resident_mb(self) -> float:
        """Return its resident memory in megabytes."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def get(self, path: str, token: str = "") -> bytes:
        """Return what it answers to a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Authorization": f"Token {token}"} if token else {})
        try:
            return connection.getresponse().read()
        finally:
            connection.close()

    def figure(self, name: str, token: str) -> float:
        """Return one of the collector's own figures."""
        for line in self.get("/metrics", token).decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return 0.0

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def collector(core: int | None = None, more: str = "") -> Iterator[tuple[Server, str, Path]]:
    """Run a collector on loopback; yield it, an admin's token, and its data folder."""
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
        data = Path(folder, "data")
        port = free_port()
        config = Path(folder, "collector.yml")
        config.write_text(
            f"listen: 127.0.0.1:{port}\ndata: {data}\nwrite: {{max_signals_per_site: 10000000}}\n{more}",
            encoding="utf-8",
        )
        data.mkdir()
        command = [sys.executable, "-m", "nhip"]
        token = subprocess.run(
            [*command, "token", "new", "--data", str(data), "--role", "admin"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        server = Server([*command, "collector", "serve", "--config", str(config)], port, core)
        try:
            yield server, token, data
        finally:
            server.stop()
