"""unit_state: what systemd says about units (its recorded words), and real processes where there is no systemd."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks.check import Unreachable
from checks.run import run
from checks.strict import ConfigError
from checks.unit_state import UnitState, judge_unit, systemd_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.result import Result

ROOT = Path(__file__).parents[2]
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


_UNITS = {
    "nothing.target": "",
    "good.service": "[Service]\nExecStart=/bin/sleep 1000\nStandardOutput=null\nStandardError=null\n",
    "bad.service": "[Service]\nExecStart=/bin/false\nStandardOutput=null\nStandardError=null\n",
}
_BOOT = """
set -e
mount --make-rprivate /
for each in /run /var/log /var/lib/systemd; do [ -d $each ] && mount -t tmpfs tmpfs $each; done
mkdir -p /run/systemd/system
cp $1/* /run/systemd/system/
mount -t cgroup2 none /sys/fs/cgroup
exec env container=test /lib/systemd/systemd --system --unit=nothing.target --log-target=null --show-status=no
"""


class Machine:
    """A systemd that believes it has started a machine: its own processes, files, network and control groups."""

    def __init__(self, first: int) -> None:
        """Take the process that is number 1 inside."""
        self.first = first

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        command = ["nsenter", "--target", str(self.first), "--all", f"--wd={ROOT}", *argv]
        return subprocess.run(command, check=False, timeout=30, capture_output=True, text=True)

    def state(self, unit: str) -> dict[str, Any]:
        """Return what `nhip check` finds about a unit inside."""
        words = ("check", "run", "unit_state", "--target", unit, "--format", "json")
        done = self.run(sys.executable, "nhip.py", *words)
        assert done.returncode in (0, 2), done.stdout + done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Start a real systemd in namespaces of its own; it touches nothing outside."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    groups = next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), None)
    if os.geteuid() != 0 or groups is None or not Path("/lib/systemd/systemd").exists() or not shutil.which("unshare"):
        pytest.skip("needs root, systemd, util-linux and control groups of version 2 to start a systemd of its own")
    for name, text in _UNITS.items():
        (tmp_path / name).write_text(f"[Unit]\nDefaultDependencies=no\n{text}", encoding="utf-8")
    group = groups / f"nhip-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    alone = "unshare --pid --fork --kill-child --mount --mount-proc --cgroup --uts --ipc --net"
    script = f'echo $$ > {group}/cgroup.procs && exec {alone} sh -c "$0" boot {tmp_path}'
    outer = subprocess.Popen(["sh", "-c", script, _BOOT], stderr=subprocess.DEVNULL)
    try:
        yield _booted(outer)
    finally:
        outer.kill()
        outer.wait()
        _remove(group)


def _booted(outer: subprocess.Popen[bytes]) -> Machine:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and outer.poll() is None:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="ascii").split()
        if children:
            machine = Machine(int(children[0]))
            if machine.run("systemctl", "show", "--property=Version").returncode == 0:
                return machine
        time.sleep(0.1)
    pytest.skip("a systemd of its own does not start here")


def _remove(group: Path) -> None:
    """Remove a control group with all below it, as soon as its processes are gone."""
    deadline = time.monotonic() + 20
    while group.exists() and time.monotonic() < deadline:
        for each in [*sorted(group.rglob("*/"), reverse=True), group]:
            with contextlib.suppress(OSError):
                each.rmdir()
        time.sleep(0.02)


def test_a_real_systemd_tells_about_its_units(machine: Machine) -> None:
    assert machine.run("systemctl", "start", "good.service").returncode == 0
    good = machine.state("good")
    assert good["reason"] is None
    assert (good["metrics"]["active"], good["metrics"]["restarts_total"]) == (1, 0)
    assert 0 <= good["metrics"]["active_seconds"] < 60
    machine.run("systemctl", "start", "bad.service")
    deadline = time.monotonic() + 20
    failed = "bad.service is failed (exit-code)"
    while (bad := machine.state("bad"))["reason"] != failed and time.monotonic() < deadline:
        time.sleep(0.1)
    assert bad["reason"] == failed
    assert machine.state("none")["reason"] == "there is no unit none.service on this node"
    machine.run("systemctl", "stop", "good.service")
    assert machine.state("good.service")["reason"] == "good.service is inactive (dead)"


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
