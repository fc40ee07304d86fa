"""What a host cannot get again comes back: archives made, sent, spoilt and restored by the very command of the role."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.role_files import ROLES

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ROLES / "backup/files/nhip_backup.py"
pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="needs Debian's age")


class Host:
    """A host with a database and a secret, in a folder of its own."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.state, self.archives, self.store = folder / "state", folder / "archives", folder / "store"
        self.state.mkdir()
        self.store.mkdir()
        self.identity, public = _key(folder / "identity")
        (folder / "recipients").write_text(f"{public}\n")
        config = {
            "host": "31117-gateway",
            "paths": [str(self.state), str(folder / "nothing-is-here")],
            "exclude": ["*/spool.sqlite*"],
            "folder": str(self.archives),
            "keep_days": 14,
            "recipients": str(folder / "recipients"),
            "send_to": "",
            "ssh_config": "",
            "store": str(self.store),
            "store_max_bytes": 1_000_000,
            "store_keep_days": 100,
        }
        self._config = folder / "backup.json"
        self._config.write_text(json.dumps(config | changes))

    def run(self, *words: str, given: bytes = b"", asked: str = "") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, str(COMMAND), "--config", str(self._config), *words]
        environment = {**os.environ, "SSH_ORIGINAL_COMMAND": asked}
        return subprocess.run(command, input=given, env=environment, capture_output=True, check=False)

    def make(self) -> Path:
        made = self.run("make")
        assert made.returncode == 0, made.stderr
        return max(self.archives.glob("*.tar.age"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    (made.state / "token").write_text("secret token")
    (made.state / "token").chmod(0o600)
    return made


def test_a_database_comes_back_as_of_one_instant_while_somebody_writes_to_it(host: Host, tmp_path: Path) -> None:
    with closing(_database(host.state / "collector.db")) as writer:
        writer.execute("INSERT INTO incidents VALUES (2)")  # not committed: it must not be in the archive
        archive = host.make()
        writer.rollback()
    restored = _restore(host, archive, tmp_path / "new")
    with closing(sqlite3.connect(restored / "collector.db")) as database:
        assert database.execute("SELECT id FROM incidents").fetchall() == [(1,)]
    assert (restored / "token").read_text() == "secret token"
    assert (restored / "token").stat().st_mode & 0o777 == 0o600


def test_a_restored_database_is_not_mixed_with_the_log_of_the_one_before(host: Host, tmp_path: Path) -> None:
    _database(host.state / "collector.db").close()
    archive = host.make()
    target = tmp_path / "new"
    place = target / str(host.state)[1:]
    place.mkdir(parents=True)
    (place / "collector.db-wal").write_bytes(b"of another database")
    assert not list(_restore(host, archive, target).glob("*-wal"))


def test_a_spool_is_left_out(host: Host, tmp_path: Path) -> None:
    """Its batches were sent: restored they would come again under numbers that others have by now."""
    _database(host.state / "spool.sqlite").close()
    assert not (_restore(host, host.make(), tmp_path / "new") / "spool.sqlite").exists()


def test_nothing_of_an_archive_can_be_read_without_the_key(host: Host, tmp_path: Path) -> None:
    archive = host.make()
    assert b"secret token" not in archive.read_bytes()
    stranger, _ = _key(tmp_path / "stranger")
    tried = host.run("verify", str(archive), given=stranger)
    assert tried.returncode == 1
    assert b"cannot be read" in tried.stderr
    assert stranger.strip() not in tried.stderr + tried.stdout


@pytest.mark.parametrize("how", ["cut", "spoilt"])
def test_a_damaged_archive_is_refused_and_nothing_is_touched(host: Host, tmp_path: Path, how: str) -> None:
    (host.state / "large").write_bytes(os.urandom(300_000))
    archive = host.make()
    whole = archive.read_bytes()
    middle = len(whole) // 2
    archive.write_bytes(
        whole[:middle] if how == "cut" else whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    )
    tried = host.run("restore", str(archive), "--to", str(tmp_path / "new"), given=host.identity)
    assert tried.returncode == 1
    assert b"cannot be read" in tried.stderr
    assert list((tmp_path / "new").iterdir()) == []


def test_an_archive_that_reaches_beyond_its_folder_is_refused(host: Host, tmp_path: Path) -> None:
    """Anybody can encrypt for a public key; what comes out must not be trusted for that."""
    (tmp_path / "evil").write_text("x")
    packed = subprocess.run(
        ["tar", "--create", "--absolute-names", "--transform=s|.*|../../etc/evil|", str(tmp_path / "evil")],
        capture_output=True,
        check=True,
    ).stdout
    archive = tmp_path / "31117-gateway_20260101T000000Z.tar.age"
    command = ["age", "--encrypt", "--recipients-file", str(tmp_path / "recipients"), "--output", str(archive)]
    subprocess.run(command, input=packed, check=True)
    tried = host.run("restore", str(archive), "--to", str(tmp_path / "new"), given=host.identity)
    assert tried.returncode == 1
    assert b"it was not made by nhip-backup: '../../etc/evil'" in tried.stderr


def test_the_data_centre_takes_an_archive_once_and_never_replaces_it(host: Host) -> None:
    name = "31117-gateway_20260101T000000Z.tar.age"
    assert host.run("receive", "31117-gateway", given=b"first", asked=name).returncode == 0
    assert host.run("receive", "31117-gateway", given=b"second", asked=name).returncode == 0
    assert (host.store / "31117-gateway" / name).read_bytes() == b"first"


@pytest.mark.parametrize(
    "asked",
    [
        "31120-gateway_20260101T000000Z.tar.age",
        "31117-gateway_../../../etc/passwd",
        "31117-gateway_20260101T000000Z.tar.age; id",
        "",
    ],
)
def test_the_data_centre_takes_nothing_but_a_hosts_own_archives(host: Host, asked: str) -> None:
    tried = host.run("receive", "31117-gateway", given=b"x", asked=asked)
    assert tried.returncode == 1
    assert b"is not the name of an archive of 31117-gateway" in tried.stderr
    assert list(host.store.iterdir()) == []


def test_a_host_cannot_fill_the_data_centres_disk_with_one_archive(host: Host) -> None:
    tried = host.run("receive", "31117-gateway", given=b"x" * 1_000_001, asked="31117-gateway_20260101T000000Z.tar.age")
    assert tried.returncode == 1
    assert b"is larger than 1000000 bytes (backup_store_max_bytes)" in tried.stderr
    assert [path for path in host.store.rglob("*") if path.is_file()] == []


def test_old_archives_go_and_the_newest_stays_however_old(host: Host) -> None:
    for day in ("20250101", "20250102"):
        assert (
            host.run("receive", "31117-gateway", given=b"x", asked=f"31117-gateway_{day}T000000Z.tar.age").returncode
            == 0
        )
    kept = [path.name for path in (host.store / "31117-gateway").iterdir()]
    assert kept == ["31117-gateway_20250102T000000Z.tar.age"]


def test_what_cannot_be_sent_waits_and_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("Host data-centre\n    HostName 127.0.0.1\n    Port 1\n    BatchMode yes\n")
    host = Host(tmp_path, send_to="data-centre", ssh_config=str(tmp_path / "ssh_config"))
    (host.state / "token").write_text("x")
    tried = host.run("make")
    assert tried.returncode == 1
    assert b"waits here, data-centre did not take it" in tried.stderr
    assert len(list(host.archives.glob("*.tar.age"))) == 1
    assert list(host.archives.glob("*.sent")) == []


def test_a_damaged_database_is_named(host: Host) -> None:
    with closing(_database(host.state / "collector.db")) as database:
        database.executemany("INSERT INTO incidents VALUES (?)", [(number,) for number in range(5000)])
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = bytearray((host.state / "collector.db").read_bytes())
    pages[8192:12288] = b"\xff" * 4096
    (host.state / "collector.db").write_bytes(pages)
    tried = host.run("make")
    assert tried.returncode == 1
    assert b"collector.db" in tried.stderr
    assert list(host.archives.glob("*.tar.age")) == []


def _key(file: Path) -> tuple[bytes, str]:
    subprocess.run(["age-keygen", "--output", str(file)], capture_output=True, check=True)
    lines = file.read_text().splitlines()
    return lines[-1].encode() + b"\n", lines[1].removeprefix("# public key: ")


def _database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE incidents (id INTEGER)")
    database.execute("INSERT INTO incidents VALUES (1)")
    database.commit()
    return database


def _restore(host: Host, archive: Path, target: Path) -> Path:
    done = host.run("restore", str(archive), "--to", str(target), given=host.identity)
    assert done.returncode == 0, done.stderr
    return target / str(host.state)[1:]
