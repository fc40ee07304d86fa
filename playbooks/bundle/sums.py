"""What a bundle holds, by checksum: SHA256SUMS, and whether the files still are what it says."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NAME = "SHA256SUMS"


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write the sums of all files in `folder`, as sha256sum(1) does; `known` spares reading what was just verified."""
    known = known or {}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    names = [path.relative_to(folder).as_posix() for path in files]
    lines = [f"{known.get(name) or sha256(path)}  {name}\n" for name, path in zip(names, files, strict=True)]
    part = folder / f".{NAME}.part"
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(folder / NAME)


def read(text: str) -> dict[str, str]:
    """Return the sums by file name; `ValueError` names a line that is not one of sha256sum(1)'s."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64 or name.startswith("/") or ".." in name.split("/"):  # noqa: PLR2004  (SHA-256)
            raise ValueError(f"{NAME} line {number} is not a checksum and a file: {line!r}")
        found[name] = digest
    return found


def problems(folder: Path) -> list[str]:
    """Say everything that is wrong with the bundle in `folder`; an empty list where all is as it was built."""
    try:
        wanted = read((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{folder} holds no complete bundle: there is no {NAME}; call make bundle"]
    except ValueError as exc:
        return [str(exc)]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {NAME}
    changed = [name for name in sorted(wanted.keys() & there) if sha256(folder / name) != wanted[name]]
    return [
        *(f"{name} is missing" for name in sorted(wanted.keys() - there)),
        *(f"{name} is not in {NAME}" for name in sorted(there - wanted.keys())),
        *(f"{name} is not what was built: its checksum differs" for name in changed),
    ]


def missing(wanted: Mapping[str, str], have: Iterable[str]) -> list[str]:
    """Return the files whose contents somebody who has these checksums lacks, sorted by name."""
    have = frozenset(have)
    return sorted(name for name, digest in wanted.items() if digest not in have)
