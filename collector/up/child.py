"""What runs beside the collector, each a process of its own: its file written, its process started and watched."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

SITE = "here"
RESTART_SECONDS = 10.0
"""How long a dead child stays dead: long enough to be seen on the board as what it is."""


class Child:
    """One `nhip NAME run` as a child process, and the file it reads."""

    def __init__(self, name: str, folder: Path) -> None:
        """Run the service `name` (agent, reflector) and keep everything of it in `folder`."""
        self._name, self._folder = name, folder
        self._written = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    @property
    def config_file(self) -> Path:
        """Return its configuration."""
        return self._folder / f"{self._name}.yml"

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the file; a running process takes a changed one up without losing a beat."""
        text = "# Written by `nhip up` at every start and when a service appears.\n" + yaml.safe_dump(
            {**settings, "data": str(self._folder / "data")}, sort_keys=False, allow_unicode=True
        )
        if text == self._written:
            return
        self._written = text
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self.config_file.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.config_file)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start the process, and the thread that starts it again should it die."""
        self._spawn()
        self._thread.start()

    def stop(self) -> None:
        """End the process gracefully, by force after some seconds."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self) -> None:
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        # Killed, we stop nobody: then the kernel ends our children, which would go on unseen and keep their ports.
        with_us = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        command = [*with_us, sys.executable, "-m", "nhip", self._name, "run", "--config", str(self.config_file)]
        with (self._folder / f"{self._name}.log").open("ab") as output:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops its children first, and in order.
            self._process = subprocess.Popen(  # noqa: S603  (our own command, argv, no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # as its unit does: one heap for few threads
            )

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            process = self._process
            if process is None or process.poll() is None:
                continue
            log.warning(
                "the %s ended (%s); it is started again in %d s; see %s",
                self._name,
                process.returncode,
                RESTART_SECONDS,
                self._folder / f"{self._name}.log",
            )
            began = time.monotonic()
            while time.monotonic() - began < RESTART_SECONDS:
                if self._stop.wait(0.2):
                    return
            self._spawn()


def agent_settings(node: str, uplink: dict[str, Any], checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the agent is to do; `uplink` is where its results go."""
    return {"site": SITE, "node": node, "collector": uplink, "heartbeat_seconds": 1, "checks": checks}


def reflector_settings(node: str, uplink: dict[str, Any], address: str) -> dict[str, Any]:
    """Return what the reflector is to do. The agent's heartbeat speaks for this machine, and its check for the rest."""
    return {
        "site": SITE,
        "node": node,
        "listen": [address],
        "heartbeat_seconds": None,
        "publish_seconds": 2,
        "collector": uplink,
    }


def uplink(url: str, token_file: Path) -> dict[str, Any]:
    """Return where results go, and how soon."""
    return {"url": url, "token_file": str(token_file), "flush_seconds": 0.5}


def write_token(token_file: Path, token: str) -> None:
    """Keep the token where only this user reads it."""
    token_file.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as out:
        out.write(token + "\n")
