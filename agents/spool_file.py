"""The SQLite file under a spool: made, opened, checked, and set aside when it is damaged."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
create table if not exists part (
    sequence integer not null, part integer not null, body blob not null, primary key (sequence, part)
) without rowid;
create table if not exists state (
    agent text not null, next_sequence integer not null,
    dropped_batches integer not null, dropped_bytes integer not null
);
"""
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
# Full, not normal: a power cut must not bring a sequence number back, for the collector would think it a duplicate.
_KEPT = {"journal_mode": "wal", "synchronous": "full", "auto_vacuum": "incremental"}
# A small log and cache: an agent's memory is a feature, and what lies in the log can be rewritten on a full disk.
_TUNED = {"wal_autocheckpoint": 128, "journal_size_limit": 1_048_576, "cache_size": -256}


def is_damaged(error: sqlite3.Error) -> bool:
    """Tell whether the file itself is at fault, and not the disk, a lock or a permission."""
    name = getattr(error, "sqlite_errorname", "")
    return any(name.startswith(damaged) for damaged in _DAMAGED)


def connect(path: Path) -> sqlite3.Connection:
    """Open the spool's file, or make it with a new agent name; `sqlite3.DatabaseError` where it is damaged."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=16)
    try:
        for name in ("auto_vacuum", "journal_mode", "synchronous"):
            db.execute(f"pragma {name} = {_KEPT[name]}")
        for name, value in _TUNED.items():
            db.execute(f"pragma {name} = {value}")
        _check(db)
        db.executescript(_SCHEMA)
        if db.execute("select count(*) from state").fetchone() == (0,):
            db.execute("insert into state values (?, 1, 0, 0)", (secrets.token_hex(16),))
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    found = db.execute("pragma quick_check(1)").fetchone()[0]
    if found != "ok":
        error = sqlite3.DatabaseError(" ".join(found.split()))
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error


def set_aside(path: Path) -> Path:
    """Move a damaged file and its log out of the way, and return its new name. One set aside before is removed."""
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink()
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def peek(path: Path) -> tuple[int, int, int]:
    """Return how many batches and bytes wait, and how many batches were dropped, without touching the file."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        waiting = db.execute("select count(distinct sequence), coalesce(sum(length(body)), 0) from part").fetchone()
        dropped = db.execute("select dropped_batches from state").fetchone()
        return int(waiting[0]), int(waiting[1]), int(dropped[0])
