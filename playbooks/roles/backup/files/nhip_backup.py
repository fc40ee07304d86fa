#!/usr/bin/python3
# Managed by the role backup.
"""Nightly archives of what this host cannot get again: consistent, encrypted, and sent away.

nhip-backup make           write an archive, send what was not sent yet, forget what is old
nhip-backup list           archives on this host, newest first
nhip-backup verify FILE    read a whole archive and compare every file with its checksum
nhip-backup restore FILE [--to DIR]   verify all of it, then put its files back
nhip-backup receive HOST   at the data centre, as the only command of a host's key: take one archive

The key that opens archives is read from standard input by verify and restore, and is nowhere else.
It is one file, long as it is, because one file is what a host is given.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

CONFIG = Path("/etc/nhip/backup/backup.json")
AGE = "/usr/bin/age"
MANIFEST = "MANIFEST.json"
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*_\d{8}T\d{6}Z\.tar\.age")
SQLITE = b"SQLite format 3\x00"
SIDECARS = ("-wal", "-shm", "-journal")
CHUNK = 1 << 20


class BackupError(Exception):
    """It cannot be done; the message says why, and what helps."""


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="nhip-backup", description="archives of what this host cannot get again")
    parser.add_argument("--config", type=Path, default=CONFIG)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make")
    commands.add_parser("list")
    commands.add_parser("verify").add_argument("archive", type=Path)
    commands.add_parser("receive").add_argument("host")
    restoring = commands.add_parser("restore")
    restoring.add_argument("archive", type=Path)
    restoring.add_argument("--to", type=Path, default=Path("/"))
    asked = parser.parse_args()
    config = json.loads(asked.config.read_text(encoding="utf-8"))
    try:
        if asked.command == "make":
            make(config)
        elif asked.command == "list":
            print(*archives(Path(config["folder"])), sep="\n")
        elif asked.command == "receive":
            receive(asked.host, os.environ.get("SSH_ORIGINAL_COMMAND", ""), config)
        else:
            read_back(asked.archive, asked.to if asked.command == "restore" else None)
    except (BackupError, OSError, sqlite3.Error) as error:
        print(f"nhip-backup: {error}", file=sys.stderr)
        return 1
    return 0


def make(config: dict[str, Any]) -> None:
    """Write one archive, send what waits, and forget what is older than `keep_days`."""
    folder = Path(config["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    archive = folder / f"{config['host']}_{now:%Y%m%dT%H%M%SZ}.tar.age"
    if archive.exists():
        raise BackupError(f"{archive} was made in this very second")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".staging-") as staging:
        files = gather(config, Path(staging))
        manifest = {
            "host": config["host"],
            "made_at": now.isoformat(),
            "folders": {str(path): rights(path) for name, _ in files for path in Path(name).parents},
            "files": {name: digest(path) for name, path in files},
        }
        encrypt(archive, Path(config["recipients"]), files, manifest)
    print(f"{archive}: {len(files)} files, {archive.stat().st_size} bytes")
    forget(folder, config["keep_days"], now)
    if config["send_to"]:
        send(folder, config)


def gather(config: dict[str, Any], staging: Path) -> list[tuple[str, Path]]:
    """Return (path on this host, file to read) of all that the archive takes; `staging` is for databases' copies."""
    found: list[tuple[str, Path]] = []
    for path in sorted({file for root in config["paths"] for file in walk(Path(root))}):
        if path.name.endswith(SIDECARS) or any(fnmatch.fnmatch(str(path), pattern) for pattern in config["exclude"]):
            continue
        copy = path
        if is_database(path):
            copy = staging / str(len(found))
            copy_database(path, copy)
        found.append((str(path), copy))
    if not found:
        raise BackupError(f"nothing to back up: none of {', '.join(config['paths'])} has a file")
    return found


def walk(root: Path) -> list[Path]:
    """Return the regular files at or below a path; a path that does not exist has none."""
    if root.is_file() and not root.is_symlink():
        return [root]
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def is_database(path: Path) -> bool:
    """Tell an SQLite database by its first bytes, as `file` does."""
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def copy_database(path: Path, copy: Path) -> None:
    """Copy an SQLite database as of one instant, while others write to it, and check the copy."""
    # Nobody has it open where there is no log: then even its folder may be read-only.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    source = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=60)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise BackupError(f"{path} is damaged: {verdict}")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rights(folder: Path) -> list[Any]:
    """Return owner, group and mode of a folder; names, because numbers differ between hosts."""
    return [folder.owner(), folder.group(), folder.stat().st_mode & 0o7777]


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    """Return an end of a child's pipe, which is there because it was asked for."""
    if end is None:
        raise BackupError("a pipe was not made")
    return end


def encrypt(archive: Path, recipients: Path, files: list[tuple[str, Path]], manifest: dict[str, Any]) -> None:
    """Write the archive under a name of its own, and give it its right name once it is on the disk."""
    partial = archive.with_name(f".{archive.name}.partial")
    command = [AGE, "--encrypt", "--recipients-file", str(recipients), "--output", str(partial)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as age:
        try:
            with tarfile.open(fileobj=age.stdin, mode="w|") as tar:
                add_text(tar, MANIFEST, json.dumps(manifest, indent=1))
                for name, path in files:
                    add_file(tar, name, path)
            pipe(age.stdin).close()
        except BrokenPipeError:
            pass  # age's own words say why
        words = pipe(age.stderr).read().decode(errors="replace").strip()
    if age.returncode:
        partial.unlink(missing_ok=True)
        raise BackupError(f"age cannot encrypt for {recipients}: {words}")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.rename(archive)


def add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    """Add a small file that is on no disk."""
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


def add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Add what is in `path` as the file `name`, with the owner and mode that `name` has."""
    with path.open("rb") as file:
        member = tar.gettarinfo(name, arcname=name.lstrip("/"))
        member.size = os.fstat(file.fileno()).st_size
        tar.addfile(member, file)


def archives(folder: Path) -> list[Path]:
    """Return the archives of a folder, newest first."""
    return sorted((path for path in folder.glob("*.tar.age") if NAME.fullmatch(path.name)), key=made_at, reverse=True)


def made_at(archive: Path) -> str:
    """Return the instant in an archive's name; text that sorts."""
    return archive.name.rpartition("_")[2]


def forget(folder: Path, keep_days: int, now: datetime) -> None:
    """Remove archives that are older than that, but never the newest one."""
    oldest = f"{now - timedelta(days=keep_days):%Y%m%dT%H%M%SZ}"
    for archive in archives(folder)[1:]:
        if made_at(archive) < oldest:
            archive.unlink()
            archive.with_suffix(".sent").unlink(missing_ok=True)


def send(folder: Path, config: dict[str, Any]) -> None:
    """Send every archive that the data centre has not acknowledged, oldest first."""
    for archive in reversed(archives(folder)):
        sent = archive.with_suffix(".sent")
        if sent.exists():
            continue
        with archive.open("rb") as file:
            command = ["/usr/bin/ssh", "-F", config["ssh_config"], config["send_to"], archive.name]
            done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BackupError(f"{archive.name} waits here, {config['send_to']} did not take it: {done.stderr.strip()}")
        sent.touch()
        print(f"{archive.name}: the data centre has it")


def receive(host: str, name: str, config: dict[str, Any]) -> None:
    """Take one archive from standard input; what is there is never replaced, so a site cannot spoil its past."""
    if not NAME.fullmatch(name) or not name.startswith(f"{host}_"):
        raise BackupError(f"{name!r} is not the name of an archive of {host}")
    folder = Path(config["store"]) / host
    folder.mkdir(mode=0o700, exist_ok=True)
    archive, partial = folder / name, folder / f".{name}.partial"
    if archive.exists():
        return
    taken = 0
    with partial.open("wb") as file:
        while chunk := sys.stdin.buffer.read(CHUNK):
            taken += len(chunk)
            if taken > config["store_max_bytes"]:
                partial.unlink()
                raise BackupError(f"{name} is larger than {config['store_max_bytes']} bytes (backup_store_max_bytes)")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(archive)
    forget(folder, config["store_keep_days"], datetime.now(UTC))


def read_back(archive: Path, target: Path | None) -> None:
    """Verify an archive with the key on standard input, and put its files below `target` if there is one."""
    beside = target if target is not None else archive.parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".nhip-restore-") as folder:
        unpacked = Path(folder)
        decrypt(archive, unpacked)
        manifest = json.loads((unpacked / MANIFEST).read_text(encoding="utf-8"))
        check(archive, unpacked, manifest["files"])
        if target is not None:
            make_folders(target, manifest["folders"])
            for name in manifest["files"]:
                put_back(unpacked / name[1:], target / name[1:])
    print(
        f"{archive.name}: {len(manifest['files'])} files of {manifest['host']}, {manifest['made_at']}: "
        f"{'verified' if target is None else f'restored to {target}'}"
    )


def check(archive: Path, unpacked: Path, files: dict[str, str]) -> None:
    """Raise unless the unpacked files are exactly those of the manifest."""
    found = {f"/{path.relative_to(unpacked)}" for path in walk(unpacked)} - {f"/{MANIFEST}"}
    wrong = sorted(found ^ files.keys()) or [name for name in files if digest(unpacked / name[1:]) != files[name]]
    if wrong:
        raise BackupError(f"{archive} does not match its checksums: {', '.join(wrong)}")


def decrypt(archive: Path, folder: Path) -> None:
    """Unpack an archive; the key goes from our standard input to age's and nowhere else."""
    command = [AGE, "--decrypt", "--identity", "-", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as age:
        try:
            with tarfile.open(fileobj=age.stdout, mode="r|") as tar:
                for member in tar:
                    unpack(tar, member, folder)
            words = ""
        except (tarfile.TarError, BackupError) as error:
            words = str(error)
        pipe(age.stdout).close()
        words = pipe(age.stderr).read().decode(errors="replace").strip() or words
    if age.returncode or words:
        raise BackupError(f"{archive} cannot be read: {words}")


def unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Unpack one file. Whoever has the public key can make an archive, so nothing in it may reach beyond the folder."""
    if not member.isfile() or member.name.startswith("/") or ".." in Path(member.name).parts:
        raise BackupError(f"it was not made by nhip-backup: {member.name!r}")
    tar.extract(member, folder)


def make_folders(target: Path, folders: dict[str, list[Any]]) -> None:
    """Make the folders that are missing, with the owner and mode that they had; those that exist stay as they are."""
    for name in sorted(folders, key=len):
        folder = target / name[1:]
        if not folder.exists():
            owner, group, mode = folders[name]
            folder.mkdir()
            shutil.chown(folder, owner, group)
            folder.chmod(mode)


def put_back(source: Path, place: Path) -> None:
    """Move one file to its place; what is beside a database belongs to its old content."""
    for suffix in SIDECARS:
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    source.replace(place)


if __name__ == "__main__":
    sys.exit(main())
