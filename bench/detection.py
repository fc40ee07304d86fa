"""How soon it is known: from a stopped service, and from a killed agent, to the open incident, over 20 tries each.

Real processes: a collector, `nhip agent run`, small web servers. Services are checked every 2 s (their port and their
page, as `nhip up` does), results are sent every 0.5 s, heartbeats every 1 s, and 4 s without any is silence. Five
services, then five agents, are killed with SIGKILL, each at random moments of its own, four times; the clock runs from
the kill until `/api/v1/incidents` shows the incident, asked every 50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bench.common import ROOT, Server, collector, free_port, machine, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 5
CHECK_SECONDS, HEARTBEAT_SECONDS, FLUSH_SECONDS, SILENCE_SECONDS = 2, 1, 0.5, 4
PATIENCE_SECONDS = 30


class Agent:
    """One `nhip agent run` on a folder."""

    def __init__(self, folder: Path, node: str, port: int, token: str, targets: list[int]) -> None:
        """Write its configuration; it watches the web servers on `targets`."""
        self._folder = folder
        folder.mkdir()
        (folder / "token").write_text(token, encoding="ascii")
        (folder / "token").chmod(0o600)
        checks = []
        for target in targets:
            at = f"127.0.0.1:{target}"
            for check, what in (("tcp_connect", at), ("http_get", f"http://{at}/")):
                checks.append(
                    {"check": check, "target": what, "interval_seconds": CHECK_SECONDS, "with": {"timeout_seconds": 2}}
                )
        config = {
            "site": "here",
            "node": node,
            "data": str(folder / "data"),
            "collector": {
                "url": f"http://127.0.0.1:{port}",
                "token_file": str(folder / "token"),
                "flush_seconds": FLUSH_SECONDS,
            },
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "checks": checks,
        }
        (folder / "data").mkdir()
        (folder / "agent.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "nhip", "agent", "run", "--config", str(self._folder / "agent.yml")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Web:
    """One small web server as a process of its own."""

    def __init__(self) -> None:
        """Choose a port."""
        self.port = free_port()
        self._server: Server | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._server = Server([sys.executable, "-m", "bench.detection", "--serve", str(self.port)], self.port)

    def kill(self) -> None:
        """End it at once."""
        if self._server is not None:
            self._server.process.kill()
            self._server.process.wait()
            self._server = None


class Watch:
    """Asks for the open incidents over and over, and knows since when each place has been seen in one."""

    def __init__(self, server: Server, token: str) -> None:
        """Ask `server`."""
        self._server, self._token = server, token
        self._over = threading.Event()
        self._seen: dict[str, float] = {}
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def wait(self, place: str, *, is_open: bool) -> float:
        """Wait until the place is in an open incident, or in none; return when an open one was first seen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            at = self._seen.get(place)
            if (at is not None) is is_open:
                return at or 0.0
            time.sleep(0.01)
        raise SystemExit(f"{place}: no incident {'opened' if is_open else 'ended'} within {PATIENCE_SECONDS} s")

    def _ask(self) -> None:
        while not self._over.is_set():
            found = json.loads(self._server.get("/api/v1/incidents?state=open", self._token))["incidents"]
            now = time.monotonic()
            self._seen = {i["cause"]["place"]: self._seen.get(i["cause"]["place"], now) for i in found}
            time.sleep(0.05)


def answer(port: int) -> None:
    """Be a small web server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"ok\n")

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def tries(watch: Watch, things: dict[str, Web] | dict[str, Agent], rounds: int) -> list[float]:
    """Kill each thing `rounds` times, all of them side by side; return the seconds until the incident."""
    took: list[float] = []
    failed: list[str] = []

    def one(place: str, thing: Web | Agent, chance: random.Random) -> None:
        try:
            for _ in range(rounds):
                watch.wait(place, is_open=False)
                time.sleep(2 + chance.uniform(0, CHECK_SECONDS))  # well again for a moment, and at any phase
                killed = time.monotonic()
                thing.kill()
                took.append(watch.wait(place, is_open=True) - killed)
                thing.start()
        except SystemExit as exc:
            failed.append(str(exc))

    threads = [threading.Thread(target=one, args=(*item, random.Random(n))) for n, item in enumerate(things.items())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(failed[0])
    return took


@contextlib.contextmanager
def running(server: Server, token: str, folder: Path) -> Iterator[tuple[Watch, dict[str, Web], dict[str, Agent]]]:
    """Run the services, the agent that watches them, and five more that only live."""
    webs = [Web() for _ in range(AT_ONCE)]
    watcher = Agent(folder / "watcher", "watcher", server.port, token, [web.port for web in webs])
    agents = {f"pc{n}": Agent(folder / f"pc{n}", f"pc{n}", server.port, token, []) for n in range(AT_ONCE)}
    watch = Watch(server, token)
    everything: list[Web | Agent] = [*webs, watcher, *agents.values()]
    try:
        for thing in everything:
            thing.start()
        _settled(lambda: len(json.loads(server.get("/api/v1/sites/here", token))["nodes"]) == 1 + AT_ONCE)
        yield watch, {f"127.0.0.1:{web.port}": web for web in webs}, agents
    finally:
        for thing in everything:
            thing.kill()
        watch.stop()


def _settled(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(KeyError):
            if true():
                time.sleep(2 * CHECK_SECONDS + 1)  # every check has passed twice
                return
        time.sleep(0.2)
    raise SystemExit("the agents were not heard")


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help=f"kills of each of {AT_ONCE}; default %(default)s")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        answer(options.serve)
        return
    more = f"silence_seconds: {SILENCE_SECONDS}\n"
    with (
        collector(more=more) as (server, token, _),
        tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder,
        running(server, token, Path(folder)) as (watch, webs, agents),
    ):
        found = {
            "a service stopped": tries(watch, webs, options.rounds),
            "an agent killed": tries(watch, agents, options.rounds),
        }
    rows = [
        [name, len(took), *(f"{figure(took):.2f} s" for figure in (min, statistics.median, max))]
        for name, took in found.items()
    ]
    table("From the fault to the open incident", ["", "tries", "least", "median", "most"], rows)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
