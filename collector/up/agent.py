"""The agent beside the collector: its file written, its process started, watched, and told of what is new."""

from __future__ import annotations

import logging
import os
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
"""How long a dead agent stays dead: long enough to be seen on the board as the silence it is."""


class Agent:
    """One `nhip agent run` as a child process, and the file it reads."""

    def __init__(self, folder: Path, node: str, url: str) -> None:
        """Keep everything in `folder`; results go to the collector at `url`."""
        self._folder = folder
        self._node = node
        self._url = url
        self._written = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="agent", daemon=True)

    @property
    def token_file(self) -> Path:
        """Return where the agent's token is kept."""
        return self._folder / "token"

    @property
    def config_file(self) -> Path:
        """Return the agent's configuration."""
        return self._folder / "agent.yml"

    def write_token(self, token: str) -> None:
        """Keep the token where only this user reads it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as out:
            out.write(token + "\n")

    def configure(self, checks: list[dict[str, Any]]) -> None:
        """Write the file; a running agent takes a changed one up without losing a beat."""
        config = {
            "site": SITE,
            "node": self._node,
            "data": str(self._folder / "data"),
            "collector": {"url": self._url, "token_file": str(self.token_file), "flush_seconds": 0.5},
            "heartbeat_seconds": 1,
            "checks": checks,
        }
        text = "# Written by `nhip up` at every start and when a service appears.\n" + yaml.safe_dump(
            config, sort_keys=False, allow_unicode=True
        )
        if text == self._written:
            return
        self._written = text
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
        command = [sys.executable, "-m", "nhip", "agent", "run", "--config", str(self.config_file)]
        with (self._folder / "agent.log").open("ab") as output:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops the agent first, and in order.
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
                "the agent ended (%s); it is started again in %d s; see %s",
                process.returncode,
                RESTART_SECONDS,
                self._folder / "agent.log",
            )
            began = time.monotonic()
            while time.monotonic() - began < RESTART_SECONDS:
                if self._stop.wait(0.2):
                    return
            self._spawn()
