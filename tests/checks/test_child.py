"""Measuring in a child process, by real checks whose libraries are large: it dies, hangs, is cancelled, and tells."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checks.run import run
from checks.snmp import Snmp
from tests.checks.snmp_device import UPS, running_snmpd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checks.result import Result

ROOT = Path(__file__).parents[2]
SECRET = "commune31120"
PATIENT = 60.0


@pytest.fixture
def silence() -> Iterator[str]:
    """Give a target that takes packets and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    file = tmp_path / "credentials"
    file.touch(mode=0o600)
    file.write_text(f"community: {SECRET}\n", encoding="ascii")
    return str(file)


def children() -> list[int]:
    """Return the processes that measure for this one."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in found if b"checks.child" in command_line(int(pid))]


def command_line(pid: int, what: str = "cmdline") -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def ask(target: str, credentials: str, timeout_seconds: float = PATIENT) -> asyncio.Task[Result]:
    """Begin a measurement that takes a while."""
    check = Snmp(
        credentials_file=credentials, packet_timeout_seconds=30, attempts=2, timeout_seconds=timeout_seconds,
        oids={"load": "1.3.6.1.4.1.2021.10.1.3.1"},
    )  # fmt: skip
    return asyncio.create_task(run(check, target, site="s", node="n"))


async def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def test_a_child_that_dies_is_our_error_with_how_it_ended(silence: str, credentials: str) -> None:
    task = ask(silence, credentials)
    await until(children, "a child starts")
    os.kill(children()[0], signal.SIGKILL)
    result = await task
    assert result.error == "the process that measures snmp ended (-9), saying: nothing"
    assert (result.metrics, result.reason) == ({}, None)
    assert children() == []


async def test_a_child_that_hangs_ends_with_the_deadline(silence: str, credentials: str) -> None:
    task = ask(silence, credentials, timeout_seconds=3)
    await until(children, "a child starts")
    os.kill(children()[0], signal.SIGSTOP)
    result = await task
    assert (result.reason, result.error) == ("no answer within 3 s", None)
    assert result.metrics == {"success": 0}
    assert children() == []


async def test_cancelling_takes_the_child_along(silence: str, credentials: str) -> None:
    task = ask(silence, credentials)
    await until(children, "a child starts")
    [pid] = children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert command_line(pid) == b""
    assert children() == []


async def test_what_a_child_is_asked_is_in_no_list_of_processes(silence: str, credentials: str) -> None:
    task = ask(silence, credentials)
    await until(children, "a child starts")
    [pid] = children()
    await until(lambda: b"checks.child" in command_line(pid), "it is our program")
    words = command_line(pid)
    environment = command_line(pid, "environ")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for secret in (SECRET, credentials, silence, "1.3.6.1.4.1.2021"):
        assert secret.encode() not in words
        assert secret.encode() not in environment


async def test_unreachable_keeps_what_was_measured_through_the_child(tmp_path: Path) -> None:
    with running_snmpd(tmp_path, "1.3.6.1.2.1.33.9.9.0 integer 1\n") as device:
        result = await device.ask(profile="ups")
    assert result.reason == "the device answers, but has nothing of a UPS (UPS-MIB, RFC 1628)"
    assert result.error is None
    assert set(result.metrics) == {"success", "response_seconds"}
    assert (result.metrics["success"], result.metrics["response_seconds"] > 0) == (0, True)


async def test_notes_come_through_the_child(tmp_path: Path) -> None:
    with running_snmpd(tmp_path, UPS) as device:
        result = await device.ask(oids={"fans": "1.3.6.1.4.1.99999.1.0"})
    assert result.notes[-1] == "fans: the device has no object 1.3.6.1.4.1.99999.1.0"


async def test_our_own_trouble_comes_through_the_child(silence: str, tmp_path: Path) -> None:
    result = await run(Snmp(credentials_file=str(tmp_path / "none")), silence, site="s", node="n")
    assert result.error == f"{tmp_path}/none cannot be read: No such file or directory"


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """An installation of Python that has what every agent has, and no pysnmp."""
    venv.create(tmp_path, symlinks=True)
    [packages] = tmp_path.glob("lib/python*/site-packages")
    for name in ("msgspec", "yaml", "_yaml"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (packages / name).symlink_to(Path(spec.origin).parent)
    words = ("check", "run", "snmp", "--target", "127.0.0.1", "--format", "json")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    argv = [str(tmp_path / "bin/python"), "nhip.py", *words]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["error"] == "snmp needs the Python package 'pysnmp', which is not installed"
    assert done.returncode == 3
