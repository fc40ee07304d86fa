"""Unit state: does a service run on this machine. systemd says so; where there is none, the table of processes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from checks.check import CheckError, Unreachable

_SYSTEMD_RUNS = Path("/run/systemd/system")
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ActiveEnterTimestampMonotonic",
    "MemoryCurrent",
)
_INTERPRETER = re.compile(r"(python|perl|ruby|node|java|bash|sh)[\d.]*\Z")
_NO_VALUE = 2**64 - 1  # what systemd writes for "not known"


class UnitState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters. With `process`, the table of processes is asked even where there is a systemd."""

    name: ClassVar[str] = "unit_state"
    summary: ClassVar[str] = "whether a systemd unit, or a process, runs on the node itself"
    target_help: ClassVar[str] = "a unit: nginx.service (without systemd, a process of that name: nginx)"
    metrics: ClassVar[Mapping[str, str]] = {
        "active": "1 when it runs, else 0",
        "active_seconds": "time since it became active, seconds",
        "restarts_total": "times systemd has restarted it, count; absent for a process",
        "memory_bytes": "memory it uses: of the unit by systemd, of a process its resident memory, bytes",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"active": 0.0}

    process: Annotated[str | None, msgspec.Meta(description="name of a process to look for instead of the unit")] = None
    systemctl: Annotated[str | None, msgspec.Meta(description="program that asks systemd, if not systemctl")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 5.0

    async def measure(self, target: str) -> dict[str, float]:
        """Look at `target`; `Unreachable` carries systemd's own words: `failed (exit-code)`."""
        if not target or target.startswith("-") or any(char.isspace() for char in target):
            raise CheckError(f"target {target!r} is not a unit; write nginx.service")
        if self.process is None and (self.systemctl or systemd_runs()):
            unit = target if "." in target else f"{target}.service"
            shown = await self._show(self.systemctl or "systemctl", unit)
            return judge_unit(unit, shown, time.clock_gettime(time.CLOCK_MONOTONIC))
        return find_process(self.process or target.removesuffix(".service"))

    async def _show(self, systemctl: str, unit: str) -> dict[str, str]:
        argv = ("show", f"--property={','.join(_PROPERTIES)}", "--", unit)
        try:
            process = await asyncio.create_subprocess_exec(
                systemctl, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as exc:
            raise CheckError(f"{systemctl} cannot be started: {exc.strerror}") from None
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise CheckError(f"systemd does not tell about {unit}: {err.decode(errors='replace').strip()}")
        return dict(line.split("=", 1) for line in out.decode(errors="replace").splitlines() if "=" in line)


def systemd_runs() -> bool:
    """Tell whether this machine was started by systemd, as sd_booted(3) does."""
    return _SYSTEMD_RUNS.exists()


def judge_unit(unit: str, shown: Mapping[str, str], now_seconds: float) -> dict[str, float]:
    """Turn what `systemctl show` says into metrics. `now_seconds` is of CLOCK_MONOTONIC, the clock systemd uses."""
    if shown.get("LoadState") == "not-found":
        raise Unreachable(f"there is no unit {unit} on this node")
    metrics = {}
    for metric, name in (("restarts_total", "NRestarts"), ("memory_bytes", "MemoryCurrent")):
        text = shown.get(name, "")
        if text.isdecimal() and int(text) < _NO_VALUE:
            metrics[metric] = float(text)
    state, detail = shown.get("ActiveState", "unknown"), shown.get("SubState", "")
    if state not in ("active", "reloading", "refreshing"):
        result = shown.get("Result", "success")
        words = detail if result in ("", "success") else result
        raise Unreachable(f"{unit} is {state}" + (f" ({words})" if words and words != state else ""), metrics)
    since = int(shown.get("ActiveEnterTimestampMonotonic") or 0)
    if since:
        metrics["active_seconds"] = max(0.0, now_seconds - since / 1e6)
    return {"active": 1.0, **metrics}


def find_process(name: str) -> dict[str, float]:
    """Look for processes by name, that of their program or of the script they run; memory is of them all."""
    import psutil  # noqa: PLC0415  (not needed where there is a systemd)

    found = []
    for process in psutil.process_iter(["name", "cmdline", "create_time", "memory_info", "status"]):
        facts = process.info
        if name in (facts["name"], *_programs(facts["cmdline"] or [])) and facts["status"] != psutil.STATUS_ZOMBIE:
            found.append(facts)
    if not found:
        raise Unreachable(f"no process is called {name}")
    metrics = {"active": 1.0, "active_seconds": max(0.0, time.time() - min(each["create_time"] for each in found))}
    sizes = [each["memory_info"].rss for each in found if each["memory_info"]]
    return {**metrics, "memory_bytes": float(sum(sizes))} if sizes else metrics


def _programs(command: list[str]) -> list[str]:
    """Return the names of the program and, for an interpreter, of its script. An argument is no program."""
    names = [Path(word).name for word in command[:2]]
    return names if names and _INTERPRETER.match(names[0]) else names[:1]
