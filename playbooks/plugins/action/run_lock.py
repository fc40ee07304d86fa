"""The control node's half of `run_lock`: say who asks, and whether an earlier run of this machine still lives."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Ask once; where a run of this very machine that is no more has the lock, ask again and say that it is dead."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, or fail with who runs what since when."""
        super().run(tmp, task_vars)
        me = holder(", ".join(Path(name).name for name in context.CLIARGS["args"]))
        answer = self._ask(me, [], task_vars)
        held = answer.get("held_by")
        if held and held.get("machine") == me["machine"] and not lives(held["run"]):
            answer = self._ask(me, [held["run"]], task_vars)
        if answer.get("held_by"):
            raise AnsibleActionFail(refusal(answer["held_by"], me))
        return answer

    def _ask(self, me: dict[str, str], dead: list[str], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {**self._task.args, "holder": me, "dead": dead}
        answer: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        return answer


def holder(what: str) -> dict[str, str]:
    """Describe the run that this process is a worker of."""
    pid = os.getppid()
    machine = Path("/etc/machine-id")
    return {
        "run": f"{pid}/{started(pid)}/{boot()}",
        "machine": machine.read_text().strip() if machine.exists() else socket.gethostname(),
        "who": os.environ.get("SUDO_USER") or getpass.getuser(),
        "node": socket.gethostname(),
        "what": what,
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def boot() -> str:
    """Return what names this machine's run since it was last started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started(pid: int) -> str:
    """Return when a process began, in ticks since boot, or "" where there is none: with its number it names one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def lives(run: str) -> bool:
    """Tell whether the run `PID/START/BOOT` is still a process of this machine."""
    pid, start, since = run.split("/")
    return bool(start) and since == boot() and started(int(pid)) == start


def refusal(held: dict[str, Any], me: dict[str, str]) -> str:
    """Say who has the lock and what there is to do."""
    since = datetime.fromisoformat(held["since"]).astimezone().strftime("%Y-%m-%d %H:%M")
    if held["machine"] == me["machine"]:
        process = held["run"].partition("/")[0]
        return (
            f"{held['who']} on this machine has been running {held['what']} since {since} (process {process}): "
            "wait until it has ended"
        )
    return (
        f"{held['who']} on {held['node']} has been running {held['what']} since {since}, last heard of "
        f"{held['heard_seconds']} s ago: wait until it has ended; if it is known to be dead, it is taken over by "
        f"itself in {held['left']} s, or now with -e run_lock_take_over=true"
    )
