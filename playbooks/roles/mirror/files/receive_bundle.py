"""Put a bundle together from what is new (a tar) and what the bundle before has, verify it, then switch to it.

    receive_bundle.py FOLDER NEW SUM KEEP

FOLDER/NEW.tar holds the files that are new; FOLDER/current is the bundle that is served. What was built differs in no
byte from what is served afterwards: SHA256SUMS itself has the checksum SUM, and every file the one that stands there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
from pathlib import Path

NAME = "SHA256SUMS"


class ReceiveError(Exception):
    """The bundle is not served; the message says why."""


def receive(folder: Path, new: str, checksum: str, keep: int) -> None:
    """Make FOLDER/NEW whole and let FOLDER/current lead to it. `ReceiveError` leaves the one before in force."""
    target, current = folder / f"{new}.part", folder / "current"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o755)
    with tarfile.open(folder / f"{new}.tar") as archive:
        archive.extractall(target, filter="data") if hasattr(tarfile, "data_filter") else _extract(archive, target)
    if _sha256(target / NAME) != checksum:
        raise ReceiveError(f"{NAME} is not the one that was sent: bring the bundle again")
    wanted = _read(target / NAME)
    there = {digest: current / name for name, digest in _read(current / NAME).items()} if current.exists() else {}
    _complete(target, wanted, there)
    shutil.rmtree(folder / new, ignore_errors=True)  # of a run that was cut off, or one that somebody has changed
    target.rename(folder / new)
    _switch(current, new)
    _forget(folder, new, keep)


def _extract(archive: tarfile.TarFile, target: Path) -> None:
    """Extract plain files only, and only below `target`: this Python has no filter of its own."""
    for member in archive:
        path = (target / member.name).resolve()
        if not member.isreg() or target.resolve() not in path.parents:
            raise ReceiveError(f"{member.name} does not belong into a bundle")
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member)
        if source is not None:
            with source, path.open("wb") as file:
                shutil.copyfileobj(source, file)


def _complete(target: Path, wanted: dict[str, str], there: dict[str, Path]) -> None:
    """Link what the bundle before has, then verify all of it."""
    wrong = []
    for name, digest in wanted.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and digest in there and there[digest].exists():
            os.link(there[digest], path)
        if not path.exists() or _sha256(path) != digest:
            wrong.append(name)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""  # noqa: PLR2004  (three show what it is)
        raise ReceiveError(f"these files are not what was built: {', '.join(wrong[:3])}{more}; call make bundle again")
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _switch(current: Path, new: str) -> None:
    """In one step: whoever downloads meets either the old bundle or the new one."""
    part = current.with_name("current.part")
    part.unlink(missing_ok=True)
    part.symlink_to(new)
    part.replace(current)


def _forget(folder: Path, new: str, keep: int) -> None:
    others = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name != new]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[keep - 1 :]:
        shutil.rmtree(path)


def _read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for line in lines for digest, _, name in (line.partition("  "),)}


def _sha256(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        receive(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except (ReceiveError, OSError, tarfile.TarError) as exc:
        sys.exit(str(exc))
