"""A real collector in a process of its own, and the small things that tests say to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agents.reflector.stamp import Limits, StampReflector
from checks import stamp_wire as wire
from checks.address import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]


def until(true: Callable[[], Any], seconds: float = 20, what: str = "it") -> Any:
    """Return what `true` returns once that is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {seconds} s")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningCollector:
    """A collector process on a folder; can be killed and started again."""

    def __init__(self, folder: Path, more: dict[str, Any]) -> None:
        self.folder = folder
        self.config = folder / "collector.yml"
        self.more = more
        self.port = 0
        self.authority = ""
        self.process: subprocess.Popen[str] | None = None
        (folder / "data").mkdir(exist_ok=True)

    def start(self) -> None:
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "data": str(self.folder / "data"),
            "silence_seconds": 3,
            **self.more,
        }
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nhip", "collector", "serve", "--config", str(self.config)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONWARNINGS": "default"},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "serving on" in line, self.log()
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.returncode

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def token(self, *words: str) -> str:
        command = [sys.executable, "-m", "nhip", "token", "new", "--data", str(self.folder / "data"), *words]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    def connect(self) -> http.client.HTTPConnection:
        if not self.authority:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        context = ssl.create_default_context(cafile=self.authority)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        connection = self.connect()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Token {token}"
        try:
            connection.request(method, path, body, sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, token: str) -> Any:
        answer = self.ask("GET", path, token=token)
        assert answer.status == 200, (answer.body, self.log())
        return answer.json

    def write(self, lines: str, token: str, **headers: str) -> Answer:
        return self.ask("POST", "/api/v2/write?org=o&bucket=b&precision=ns", lines.encode(), token=token, **headers)


def free_udp_port() -> int:
    """Return a port of UDP on loopback that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RunningReflector:
    """`nhip reflector run` with a file, as a process of its own. `stop` it in the end."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.config = folder / "reflector.yml"
        self.errors = folder / "reflector.txt"
        self.port = free_udp_port()
        self.settings: dict[str, Any] = {"listen": [f"127.0.0.1:{self.port}"], "data": str(folder / "reflector")}
        self.process: subprocess.Popen[bytes] | None = None
        self.write(**settings)

    def write(self, **changes: object) -> None:
        self.settings |= changes
        self.config.write_text(json.dumps(self.settings), encoding="utf-8")  # JSON is YAML

    def start(self, *, within: tuple[str, ...] = ()) -> None:
        """Return once it answers; `within` is a command to run it by, such as `ip netns exec NAME`."""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*within, sys.executable, "nhip.py", "reflector", "run", "--config", str(self.config)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(b"reflecting STAMP on "), self.said()

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        code = process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")


GENEROUS = Limits(1_000_000, 1_000_000, 20_000)
CLOCK_ESTIMATE = wire.error_estimate(0.001, synchronised=True)


@contextlib.contextmanager
def reflecting(
    *,
    keys: dict[int, bytes] | None = None,
    limits: Limits = GENEROUS,
    host: str = "127.0.0.1",
    port: int = 0,
    estimate: int = CLOCK_ESTIMATE,
) -> Iterator[StampReflector]:
    """Run a reflector on a free port of loopback, on the running event loop."""
    reflector = StampReflector(literal(host, port), keys=keys, limits=limits, clock_estimate=lambda: estimate)
    reflector.start()
    try:
        yield reflector
    finally:
        reflector.close()
