"""Asking a running collector how much of the time things were up."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.running import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.running import RunningCollector


MINUTE = 60_000_000_000


def nhip(*words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "nhip", "report", "availability", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False)


@pytest.fixture
def who(shared: RunningCollector, tmp_path: Path) -> list[str]:
    token = tmp_path / "token"
    token.write_text(shared.token("--role", "viewer"))
    return ["--url", f"http://127.0.0.1:{shared.port}", "--token-file", str(token)]


def test_what_was_measured_is_in_the_report_soon_after(
    shared: RunningCollector, who: list[str], tmp_path: Path, until_true: Callable[..., object]
) -> None:
    first, series = time.time_ns() // MINUTE * MINUTE - 10 * MINUTE, "stamp,site=31117,node=gw,target=10.92.0.10:862"
    lines = [f"{series} loss_ratio={0 if n < 6 else 1} {first + n * MINUTE}" for n in range(8)]
    assert shared.write("\n".join(lines), shared.token("--site", "31117")).status == 204
    asked = ["--site", "31117", *who]
    until_true(lambda: b"31117,31117,,line,,,75.0," in nhip(*asked, "--format", "csv").stdout, 90)
    page = tmp_path / "report.html"
    assert nhip(*asked, "--format", "html", "--out", str(page)).returncode == 0
    assert "✖ 75,00 %" in page.read_text(encoding="utf-8")
    assert "down 2 min" in nhip(*asked, "--language", "en").stdout.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "2026"], "from: '2026' is no time: write a month (2026-11)"),
        (["--from", "2026-02", "--to", "2026-01"], "from (2026-02) must lie before to (2026-01)"),
        (["--site", "99999"], "nothing is measured of '99999'"),
        (["--service", "tea"], "nothing is measured of 'tea'"),
    ],
)
def test_what_cannot_be_answered_is_said(who: list[str], words: list[str], said: str) -> None:
    told = nhip(*words, *who)
    assert (told.returncode, told.stdout) == (3, b"")
    assert said in told.stderr.decode()


def test_a_report_asks_who_is_there(shared: RunningCollector) -> None:
    assert shared.ask("GET", "/api/v1/reports/availability").status == 401


def test_a_file_that_cannot_be_written_is_named(shared: RunningCollector, who: list[str], tmp_path: Path) -> None:
    shared.write("stamp,site=1,node=gw,target=r loss_ratio=0", shared.token("--site", "1"))
    told = nhip("--out", str(tmp_path / "no" / "such"), *who)
    assert told.returncode == 3
    assert "No such file or directory" in told.stderr.decode()
