"""What a running agent writes down about itself, the lock that says that it runs, and what `status` makes of both."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING

import msgspec

from agents.spool_file import peek

if TYPE_CHECKING:
    from pathlib import Path


OK, CRITICAL, UNKNOWN = 0, 2, 3
"""Exit codes, as monitoring plug-ins have them."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an agent at `written_at`. Instants are seconds since the epoch."""

    pid: int
    site: str
    node: str
    written_at: float
    heartbeat_seconds: float
    checks: int
    checks_in_error: int
    checks_overrun_total: int
    spool_batches: int
    spool_bytes: int
    dropped_batches: int
    dropped_bytes: int
    refused_batches: int
    last_upload_at: float | None
    trouble: str

    @property
    def fresh(self) -> bool:
        """Whether it was written a few heartbeats ago at most: an agent that hangs keeps its lock but goes quiet."""
        return abs(time.time() - self.written_at) < 3 * self.heartbeat_seconds + 5

    def write(self, folder: Path) -> None:
        """Replace the status file in one step. `OSError` where the disk refuses."""
        name = f"{folder}/status.json"
        with open(f"{name}.part", "wb", buffering=0) as file:  # noqa: PTH123  (every few seconds for years)
            file.write(msgspec.json.encode(self))
        os.replace(f"{name}.part", name)  # noqa: PTH105  (as above: half the cost of Path objects)


def read(folder: Path) -> Status | None:
    """Return what was last written, or None where there is nothing that can be read."""
    try:
        return msgspec.json.decode((folder / "status.json").read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None


class Lock:
    """One agent a folder: held for as long as the process lives, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock, or raise `BlockingIOError` where another process has it."""
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for attempt in range(5, -1, -1):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not attempt:
                    os.close(self._file)
                    raise
                time.sleep(0.1)  # it may be only `nhip agent status`, looking whether anyone has it
            else:
                return

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._file)


def is_running(folder: Path) -> bool:
    """Tell whether an agent holds the folder's lock. `OSError` where that cannot be asked."""
    file = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def report(folder: Path) -> tuple[int, str]:
    """Judge the agent of a folder: an exit code, and a line for a person."""
    try:
        running = is_running(folder)
    except FileNotFoundError:
        return UNKNOWN, f"UNKNOWN: no agent has ever run with {folder}"
    except OSError as exc:
        return UNKNOWN, f"UNKNOWN: {folder} cannot be read: {exc.strerror}"
    if not running:
        return CRITICAL, f"CRITICAL: not running; {_backlog(folder)}"
    status = read(folder)
    return (UNKNOWN, "UNKNOWN: running, but it has written no status yet") if status is None else _judge(status)


def _judge(status: Status) -> tuple[int, str]:
    sent = "nothing sent yet" if status.last_upload_at is None else f"last upload {_ago(status.last_upload_at)}"
    facts = (
        f"process {status.pid}, {status.checks} checks ({status.checks_in_error} cannot measure), {sent}, "
        f"{status.spool_batches} batches ({status.spool_bytes:,} bytes) wait, "
        f"{status.dropped_batches} ({status.dropped_bytes:,} bytes) dropped, {status.refused_batches} refused in part"
    )
    if not status.fresh:
        return CRITICAL, f"CRITICAL: running, but its last sign of life was {_ago(status.written_at)}; {facts}"
    if status.trouble:
        return CRITICAL, f"CRITICAL: not sending: {status.trouble}; {facts}"
    return OK, f"OK: {facts}"


def _backlog(folder: Path) -> str:
    try:
        batches, size, dropped = peek(folder / "spool.sqlite")
    except sqlite3.Error as exc:
        return f"its spool cannot be read: {exc}"
    return f"{batches} batches ({size:,} bytes) wait in the spool, {dropped} dropped"


def _ago(at: float) -> str:
    return f"{max(0.0, time.time() - at):.0f} s ago"
