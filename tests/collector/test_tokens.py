"""Tokens: made once, kept as hashes, revoked within seconds; and `nhip token`, which says what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.database import open_database
from collector.tokens import Token, Tokens

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    return Tokens(open_database(tmp_path / "collector.db"), clock)


def test_a_secret_is_known_by_itself_alone(tokens: Tokens, tmp_path: Path) -> None:
    secret, other = tokens.new("site", "31120"), tokens.new("viewer")
    assert secret != other
    assert tokens.find(secret) == Token(1, "site", "31120")
    assert tokens.find(secret[:-1]) is None
    assert tokens.find("") is None
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in kept
    assert "hash" not in tokens.list()[0]


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("site", {"site"}),
        ("viewer", {"site", "viewer"}),
        ("operator", {"site", "viewer", "operator"}),
        ("admin", {"site", "viewer", "operator", "admin"}),
    ],
)
def test_each_role_may_what_the_ones_below_may(role: str, may: set[str]) -> None:
    token = Token(1, role)  # type: ignore[arg-type]  # the parameters are roles
    assert {wanted for wanted in ("site", "viewer", "operator", "admin") if token.may(wanted)} == may  # type: ignore[arg-type]  # likewise


def test_a_revoked_token_is_nobody_within_seconds_and_so_are_the_sessions_it_signed_in(
    tokens: Tokens, clock: Clock
) -> None:
    secret = tokens.new("operator")
    found = tokens.find(secret)
    assert found is not None
    session = tokens.sign_in(found)
    assert tokens.session(session) == found
    assert tokens.revoke(found.id)
    clock.now += 6 * SECOND
    assert tokens.find(secret) is None
    assert tokens.session(session) is None
    assert not tokens.revoke(found.id)
    assert not tokens.revoke(99)


def test_a_session_ends_by_signing_out_and_by_itself(tokens: Tokens, clock: Clock) -> None:
    tokens.new("viewer")
    first, second = tokens.sign_in(Token(1, "viewer")), tokens.sign_in(Token(1, "viewer"))
    assert tokens.session(first) is not None
    tokens.sign_out(first)
    assert tokens.session(first) is None
    clock.now += 11 * 3600 * SECOND
    assert tokens.session(second) is not None
    clock.now += 2 * 3600 * SECOND
    assert tokens.session(second) is None


def test_a_session_is_no_token_and_a_token_no_session(tokens: Tokens) -> None:
    secret = tokens.new("admin")
    session = tokens.sign_in(Token(1, "admin"))
    assert tokens.find(session) is None
    assert tokens.session(secret) is None


def test_guesses_do_not_fill_the_memory(tokens: Tokens) -> None:
    for number in range(10_100):
        assert tokens.find(f"guess {number}") is None
    assert len(tokens._remembered) <= 10_001


def token(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nhip", "token", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_token_is_made_alone_on_its_line_listed_without_its_secret_and_revoked_once(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    made = token("new", *data, "--site", "31120")
    assert (made.returncode, made.stderr) == (0, "")
    (secret,) = made.stdout.split()
    assert token("new", *data, "--role", "viewer").returncode == 0
    listed = token("list", *data).stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [["1", "site", "31120"], ["2", "viewer", "made"]]
    assert secret not in "".join(listed)
    revoked = token("revoke", *data, "1")
    assert (revoked.returncode, revoked.stdout[:20]) == (0, "token 1 is revoked; ")
    assert "revoked" in token("list", *data).stdout.splitlines()[0]
    again = token("revoke", *data, "1")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "nhip token: there is no token 1 to revoke; 'nhip token list' shows them\n"


def test_a_folder_that_is_not_there_is_one_line_and_is_not_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    found = token("new", "--data", str(nowhere), "--role", "viewer")
    assert found.returncode == 1
    assert found.stderr == f"nhip token: there is no folder {nowhere}; --data is the collector's data folder\n"
    assert not nowhere.exists()


@pytest.mark.parametrize("kind", ["a folder", "no database"])
def test_a_database_that_is_none_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "collector.db"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(os.urandom(8192))
    found = token("list", "--data", str(tmp_path))
    assert (found.returncode, found.stdout) == (1, "")
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"nhip token: {path}: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new"], "one of the arguments --site --role is required"),
        (["new", "--site", "1", "--role", "viewer"], "not allowed with argument"),
        (["new", "--role", "king"], "choose from"),
        (["new", "--site", ""], "a site's code must not be empty"),
        (["revoke", "first"], "invalid int value: 'first'"),
    ],
)
def test_a_wrong_command_is_told_what_would_be_right(tmp_path: Path, words: list[str], said: str) -> None:
    found = token(*words, "--data", str(tmp_path))
    assert found.returncode == 2
    assert said in found.stderr
    assert not (tmp_path / "collector.db").exists()


def test_a_running_collector_takes_a_new_token_and_refuses_a_revoked_one(tmp_path: Path) -> None:
    """Two processes on one database: `nhip token` beside the collector."""
    database = open_database(tmp_path / "collector.db")
    tokens, clock = Tokens(database, now := Clock()), now
    secret = token("new", "--data", str(tmp_path), "--role", "operator").stdout.strip()
    assert tokens.find(secret) == Token(1, "operator")
    assert token("revoke", "--data", str(tmp_path), "1").returncode == 0
    clock.now += 6 * SECOND
    assert tokens.find(secret) is None
    with database.connect() as db:
        assert db.execute(sa.text("pragma integrity_check")).scalar() == "ok"
