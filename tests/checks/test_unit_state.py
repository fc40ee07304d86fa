"""unit_state: what systemd says about units (its recorded words), and real processes where there is no systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks.check import Unreachable
from checks.run import run
from checks.strict import ConfigError
from checks.unit_state import UnitState, judge_unit, systemd_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checks.result import Result

RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "NRestarts": "3",
    "ActiveEnterTimestampMonotonic": "5000000",
    "MemoryCurrent": "4096000",
}


async def look(target: str, **parameters: Any) -> Result:
    return await run(UnitState(**parameters), target, site="s", node="n")


def speaking(tmp_path: Path, script: str) -> str:
    """Write a program that stands for systemctl: the seam is its command line."""
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_a_running_unit_is_active_since_it_entered_that_state() -> None:
    assert judge_unit("nginx.service", RUNNING, now_seconds=65.0) == {
        "active": 1,
        "active_seconds": 60,
        "restarts_total": 3,
        "memory_bytes": 4096000,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "there is no unit nginx.service on this node"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "nginx.service is inactive (dead)"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"},
            "nginx.service is failed (exit-code)",
        ),
        ({"ActiveState": "failed", "SubState": "failed"}, "nginx.service is failed"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "nginx.service is activating (auto-restart)"),
    ],
)
def test_a_unit_that_does_not_run_says_so_in_systemds_words(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(Unreachable) as caught:
        judge_unit("nginx.service", {**RUNNING, **changes}, now_seconds=65.0)
    assert caught.value.reason == reason


def test_what_systemd_does_not_know_is_absent() -> None:
    for unknown in ("[not set]", str(2**64 - 1), ""):
        assert "memory_bytes" not in judge_unit("a.service", {**RUNNING, "MemoryCurrent": unknown}, 65.0)
    assert "active_seconds" not in judge_unit("a.service", {**RUNNING, "ActiveEnterTimestampMonotonic": "0"}, 65.0)


async def test_systemd_is_asked_by_arguments_and_never_by_a_shell(tmp_path: Path) -> None:
    said = "\n".join(f"{name}={value}" for name, value in RUNNING.items())
    program = speaking(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/asked\ncat <<'END'\n{said}\nEND")
    result = await look("nginx", systemctl=program)
    assert result.error is None
    assert (result.metrics["active"], result.metrics["restarts_total"]) == (1, 3)
    asked = (tmp_path / "asked").read_text(encoding="utf-8").split("\n")
    assert asked[0] == "show"
    assert asked[2:4] == ["--", "nginx.service"]


async def test_a_systemd_that_cannot_be_asked_is_our_error(tmp_path: Path) -> None:
    missing = await look("nginx", systemctl=str(tmp_path / "none"))
    assert missing.error == f"{tmp_path}/none cannot be started: No such file or directory"
    refusing = await look("nginx", systemctl=speaking(tmp_path, "echo 'Access denied' >&2; exit 1"))
    assert refusing.error == "systemd does not tell about nginx.service: Access denied"


async def test_a_systemd_that_hangs_ends_at_the_deadline_and_leaves_no_process(tmp_path: Path) -> None:
    program = speaking(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    result = await look("nginx", systemctl=program, timeout_seconds=1.5)
    assert result.reason == "no answer within 1.5 s"
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a process under a name of its own."""
    name = f"nhip-t{os.getpid()}"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / name)
    process = subprocess.Popen([tmp_path / name, "120"])
    try:
        yield name, process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(systemd_runs(), reason="here systemd would be asked, not the table of processes")
async def test_without_systemd_a_unit_is_a_process_of_that_name(sleeper: tuple[str, subprocess.Popen[bytes]]) -> None:
    assert (await look(f"{sleeper[0]}.service")).metrics["active"] == 1


async def test_a_process_is_found_by_name_and_missed_once_it_ends(sleeper: tuple[str, subprocess.Popen[bytes]]) -> None:
    name, process = sleeper
    found = await look("anything", process=name)
    assert found.metrics["active"] == 1
    assert found.metrics["memory_bytes"] > 0
    assert 0 <= found.metrics["active_seconds"] < 120
    assert "restarts_total" not in found.metrics
    process.kill()
    deadline = time.monotonic() + 10
    while (gone := await look("anything", process=name)).metrics["active"] and time.monotonic() < deadline:
        time.sleep(0.05)  # noqa: ASYNC251  (nothing else runs in this loop)
    assert gone.reason == f"no process is called {name}", "also while it is a zombie"
    assert gone.metrics == {"active": 0}


@pytest.fixture
def script(tmp_path: Path) -> Iterator[str]:
    """Run a script of a name of its own, with the argument `argument`."""
    name = f"script-{os.getpid()}.py"
    (tmp_path / name).write_text("import time; print('up', flush=True); time.sleep(120)", encoding="utf-8")
    with subprocess.Popen([sys.executable, tmp_path / name, "argument"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield name
        process.kill()


async def test_a_script_is_a_process_but_an_argument_is_not(script: str) -> None:
    assert (await look("x", process=script)).metrics["active"] == 1
    assert (await look("x", process="argument")).metrics["active"] == 0


@pytest.mark.parametrize("target", ["", "a b", "--version"])
async def test_a_target_that_is_no_unit_is_our_error(target: str) -> None:
    assert (await look(target)).error == f"target {target!r} is not a unit; write nginx.service"


def test_a_bad_parameter_says_what_would_be_right() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("unit_state", {"process": 5, "unit": "x"})
    assert "$.process: expected `str`, got `int`" in str(caught.value)
    assert "$.unit: is unknown; there are: process, systemctl, timeout_seconds" in str(caught.value)
