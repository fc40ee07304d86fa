"""The judge's state on disk, so that a restart judges on from where it stopped and not from the beginning."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 3


def save(path: Path, position: int, columns: dict[str, Any], plain: dict[str, Any]) -> None:
    """Write the state that holds after journal position `position`: wholly, or not at all."""
    told = orjson.dumps({"version": _VERSION, "position": position, **plain})
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        np.savez(file, plain=np.frombuffer(told, dtype=np.uint8), **columns)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """Return position, columns and plain state; None where there is no checkpoint that can be read."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            columns = {name: saved[name] for name in saved.files}
        plain = orjson.loads(columns.pop("plain").tobytes())
        if plain.pop("version") != _VERSION:
            return None
        return plain.pop("position"), columns, plain
    except (OSError, ValueError, KeyError, EOFError):
        return None
