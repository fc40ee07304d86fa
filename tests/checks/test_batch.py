"""`nhip check run --plan`: many measurements in one go."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from checks.command import main

if TYPE_CHECKING:
    from pathlib import Path


def plan(folder: Path, *entries: dict[str, Any]) -> str:
    path = folder / "plan.yml"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return str(path)


def echo(name: str, site: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "site": site, "check": "icmp_echo", "target": "127.0.0.1", "with": {"count": 1}, **more}


def test_each_entry_gives_one_line_with_its_name_and_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plan(tmp_path, echo("reach", "31120"), echo("again", "31120"), echo("reach", "31135"))
    assert main(["run", "--plan", source, "--format", "json", "--node", "here"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((each["site"], each["id"]) for each in told) == [
        ("31120", "again"), ("31120", "reach"), ("31135", "reach"),
    ]  # fmt: skip
    assert [each["id"] for each in told if each["site"] == "31120"] == ["reach", "again"], "a site's own stay in order"
    assert all(each["state"] == "OK" and each["node"] == "here" and each["metrics"]["loss_ratio"] == 0 for each in told)


def test_the_exit_code_is_the_worst_and_an_error_hides_no_outage(
    tmp_path: Path, free_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = {"id": "closed", "check": "tcp_connect", "target": f"127.0.0.1:{free_tcp_port}"}
    unknown = {"id": "unit", "check": "unit_state", "target": "x.service", "with": {"systemctl": "/nowhere"}}
    assert main(["run", "--plan", plan(tmp_path, unknown, echo("fine", ""))]) == 3
    assert main(["run", "--plan", plan(tmp_path, closed, unknown, echo("fine", ""))]) == 2
    assert "connection refused" in capsys.readouterr().out


def test_a_plan_is_read_from_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "nhip.py", "check", "run", "--plan", "-", "--format", "json"],
        input="- {id: home, check: icmp_echo, target: 127.0.0.1, with: {count: 1}}",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["id"] == "home"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{check: icmp_echo}]", "$[0].id: is missing"),
        ("[{id: a, check: icmp}]", "$[0].check: no check is called 'icmp'; there are: icmp_echo"),
        ("[{id: a, check: icmp_echo, target: b, with: {cout: 1}}]", "$[0].with.cout: is unknown; there are: count"),
        ("[{id: a, check: icmp_echo}]", "$[0].target: is missing: a host"),
        ("[{id: a, check: icmp_echo, target: b}, {id: a, check: icmp_echo, target: b}]", "$[1].id: 'a' is given twice"),
        ("[{id: a, check: icmp_echo, target: b, every: 3}]", "$[0].every: is unknown; there are: check, id, "),
        ("x: [", "not valid YAML"),
    ],
)
def test_a_plan_with_a_mistake_runs_nothing_and_says_where(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.yml"
    path.write_text(text, encoding="utf-8")
    assert main(["run", "--plan", str(path)]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert f"nhip check: {path}: " in told.err
    assert message in told.err


def test_a_plan_and_a_check_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plan(tmp_path, echo("reach", "31120"))
    assert main(["run", "icmp_echo", "--target", "127.0.0.1", "--plan", source]) == 3
    assert "--plan: has its own checks, targets and parameters: leave out name, target" in capsys.readouterr().err
    assert main(["run"]) == 3
    assert "NAME: is missing: one of icmp_echo" in capsys.readouterr().err
