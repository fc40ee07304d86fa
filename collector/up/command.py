"""`nhip up`: collector, board, reflector and agent in one command, measuring this machine."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from collector import running
from collector.config import Config, Site, is_loopback, split_address
from collector.config import Service as NamedService
from collector.database import open_database
from collector.serving import StartError, make_folder
from collector.tokens import Tokens
from collector.up.child import SITE, Child, agent_settings, reflector_settings, uplink, write_token
from collector.up.discover import Service, listening, own_checks, way_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.serving import Collector

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0


def main(argv: list[str]) -> int:
    """Run everything until Ctrl-C; 1 with one line on standard error when it cannot start."""
    options = _parser().parse_args(argv)
    running.log_to_stderr()
    try:
        host, port = split_address(options.listen)
        if not is_loopback(host):
            raise StartError(f"{host} is not loopback; to serve others, use 'nhip collector serve' with TLS and tokens")
        return _up(options.data.absolute(), host, port, discover=options.discover, forgotten=options.forget)
    except (*running.START_ERRORS, ValueError) as exc:
        print(f"nhip up: {exc}", file=sys.stderr)
        return 1


def _up(data: Path, host: str, port: int, *, discover: bool, forgotten: list[str]) -> int:
    make_folder(data)
    node = platform.node() or "localhost"
    config = Config(
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        data=data / "collector",
        loopback_reads=True,
        silence_seconds=4,
        restart_grace_seconds=5,
        stale_seconds=60,
        sites=[Site(site=SITE, name=node, group="")],
    )
    collector, sock = running.open_collector(config)
    port = sock.getsockname()[1]
    board = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    token_file = data / "agent" / "token"
    _ensure_token(token_file, data / "collector" / "collector.db")
    services = Services(data / "services.json", port, forgotten)
    checks = own_checks(board, address) + (way_out() if discover else [])
    everything = Everything(collector, data, services, checks, board)
    everything.name()
    everything.connect(node, address, uplink(board, token_file))

    def ready() -> None:
        everything.start()
        print(_welcome(board, data, services), flush=True)

    try:
        running.run_until_signal(collector, sock, ready, everything.stop)
    finally:
        print("stopped; what was measured stays in", data, flush=True)
    return 0


class Services:
    """The services that are watched: those that listen, and those that did when this last ran."""

    def __init__(self, path: Path, own_port: int, forgotten: Sequence[str] = ()) -> None:
        """Remember in `path`: a service that is down at the next start is still one to watch, unless `forgotten`."""
        self._path = path
        self._own_port = own_port
        self._seen: set[Service] = set()
        loaded = self._load()
        unknown = [name for name in forgotten if name not in {service.name for service in loaded}]
        if unknown:
            names = ", ".join(service.name for service in loaded) or "none"
            raise StartError(f"--forget {unknown[0]}: no such service is remembered; there are: {names}")
        self.known: list[Service] = [service for service in loaded if service.name not in forgotten]
        self.look(at_once=True)

    def look(self, *, at_once: bool = False) -> bool:
        """Look again; return whether there is a new one. One that only passes by is not: it must be there twice."""
        now = set(listening(self._own_port))
        ports = {service.port for service in self.known}
        new = sorted((s for s in now if s.port not in ports and (at_once or s in self._seen)), key=lambda s: s.port)
        self._seen = now
        self.known += new
        if new or at_once:
            rows = [[s.name, s.host, s.port, s.process, s.unit] for s in self.known]
            self._path.write_text(json.dumps(rows), encoding="utf-8")
        return bool(new)

    def _load(self) -> list[Service]:
        try:
            return [Service(*row) for row in json.loads(self._path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):
            return []


class Everything:
    """The agent, its checks and its reflector, kept in step with what listens on this machine."""

    def __init__(
        self, collector: Collector, data: Path, services: Services, checks: list[dict[str, object]], board: str
    ) -> None:
        """Put the parts together; each child keeps its things below `data`."""
        self._collector = collector
        self._agent, self._reflector = Child("agent", data / "agent"), Child("reflector", data / "reflector")
        self._services = services
        self._node = ""
        self._uplink: dict[str, object] = {}
        self._checks = checks
        self._board = board
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="discover", daemon=True)

    def connect(self, node: str, address: str, uplink: dict[str, object]) -> None:
        """Say as which node of which results go where, and at which address (of UDP) test packets come back."""
        self._node, self._uplink = node, uplink
        self._reflector.configure(reflector_settings(node, uplink, address))

    def start(self) -> None:
        """Start the children, and look now and then for services that appear."""
        self._configure()
        self._reflector.start()
        self._agent.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop the children, so that their last results still find the collector."""
        self._stop.set()
        self._agent.stop()
        self._reflector.stop()

    def name(self) -> None:
        """Name the services. Before the collector starts, so that it judges what an earlier run left by these names."""
        own = NamedService(service="Nhịp", targets=[f"{self._board}health"])
        named = [NamedService(service=s.name, targets=s.targets()) for s in self._services.known]
        self._collector.places.name([own, *named])

    def _configure(self) -> None:
        self.name()
        watched = [check for service in self._services.known for check in service.checks()]
        unique = {(check["check"], check["target"]): check for check in [*self._checks, *watched]}
        self._agent.configure(agent_settings(self._node, self._uplink, list(unique.values())))

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            if self._services.look():
                log.info("watching %s too", self._services.known[-1].name)
                self._configure()


def _ensure_token(token_file: Path, database: Path) -> None:
    """Give the children a token for their site, unless they have one that still works."""
    tokens = Tokens(open_database(database))
    try:
        if tokens.find(token_file.read_text(encoding="ascii").strip()) is not None:
            return
    except (OSError, ValueError):
        pass
    write_token(token_file, tokens.new("site", SITE))


def _welcome(board: str, data: Path, services: Services) -> str:
    names = ", ".join(service.name for service in services.known) or "no listening service yet"
    return f"""
Nhịp is running.
  board     {board}
  data      {data}
  watching  this machine's health and loopback, the collector itself, {names}
  try       stop one of those services, and look at the board
  forget    a service that is gone for good: end, then nhip up --forget NAME
  end       Ctrl-C
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip up",
        description="Everything on this machine: collector, board, reflector, and an agent that measures it for real.",
        epilog="Example: nhip up --listen 127.0.0.1:8080, then open http://127.0.0.1:8080/",
    )
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="loopback; default %(default)s")
    parser.add_argument("--data", type=Path, default=_default_data(), metavar="DIR", help="default %(default)s")
    parser.add_argument(
        "--forget", action="append", default=[], metavar="NAME", help="no longer watch a service that is gone for good"
    )
    parser.add_argument("--discover", action="store_true", help="also measure the default gateway and the resolvers")
    return parser


def _default_data() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "nhip"
