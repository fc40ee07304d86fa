"""Asking a collector from a terminal: the words, and the exit codes that scripts go by."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.running import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.running import RunningCollector


def nhip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "nhip", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def who(shared: RunningCollector, tmp_path: Path) -> list[str]:
    """Return the options that ask the collector as an operator."""
    token = tmp_path / "token"
    token.write_text(shared.token("--role", "operator"))
    return ["--url", f"http://127.0.0.1:{shared.port}", "--token-file", str(token)]


def test_a_red_site_is_named_first_and_its_incident_can_be_taken_on(shared: RunningCollector, who: list[str]) -> None:
    writer = shared.token("--role", "admin")
    for success in (0, 0):
        shared.write(f"tcp_connect,site=31120,node=gw,target=10.0.0.1:443 success={success} {time.time_ns()}", writer)
    shared.write(f"tcp_connect,site=10001,node=gw,target=10.0.0.1:443 success=1 {time.time_ns()}", writer)
    seen = nhip("status", *who)
    assert seen.returncode == 2
    assert [line.split()[:3] for line in seen.stdout.splitlines()] == [["✖", "red", "31120"], ["✔", "green", "10001"]]
    assert nhip("status", "10001", *who).returncode == 0
    listed = nhip("incidents", "list", "--language", "vi", *who).stdout
    assert "Dịch vụ 10.0.0.1:443 không hoạt động" in listed
    number = listed.split()[0]
    taken = nhip("incidents", "acknowledge", number, "--comment", "on my way", *who)
    assert taken.returncode == 0
    assert "acknowledged by operator #" in taken.stdout
    shown = nhip("incidents", "show", number, *who).stdout
    assert "on my way" in shown
    assert json.loads(nhip("incidents", "show", number, "--json", *who).stdout)["id"] == number


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "nowhere"], "no site 'nowhere' is configured or was ever heard"),
        (["incidents", "show", "x"], "there is no incident 'x'"),
        (["incidents", "acknowledge", "x"], "there is no incident 'x'"),
    ],
)
def test_what_does_not_exist_is_said(who: list[str], words: list[str], said: str) -> None:
    asked = nhip(*words, *who)
    assert (asked.returncode, asked.stderr.strip()) == (3, f"nhip: {said}")


def test_a_collector_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    asked = nhip("status", "--url", url)
    assert asked.returncode == 3
    assert asked.stderr.startswith(f"nhip: {url} does not answer: ")
    assert nhip("status", "--url", "ftp://x").stderr.startswith("nhip: --url 'ftp://x' is not an address")
    assert "No such file" in nhip("status", "--url", url, "--token-file", str(tmp_path / "none")).stderr
