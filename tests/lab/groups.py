"""Control groups: each host's processes in one of their own, so that hosts neither share units nor outlive the lab.

systemd in a host names its groups after its units; were two hosts in one group, their `ssh.service` would be the same.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.lab.programs import LabError

_CONTROLLERS = "+cpu +memory +pids"


def hierarchies() -> list[Path]:
    """Return where systemd keeps its groups on this machine: the unified tree, its own old one, or both."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(left.split(" ")[4]))
    if not found:
        raise LabError(
            "no control groups are mounted here, and systemd needs them: mount -t cgroup2 none /sys/fs/cgroup"
        )
    return found


def paths(lab: str, host: str = "") -> list[Path]:
    """Return the groups of a lab, or of one of its hosts."""
    return [root / lab / host for root in hierarchies()]


def make(groups: list[Path]) -> None:
    """Make groups, with the controllers that a host's units ask for where this machine offers them."""
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
        control = group.parent / "cgroup.subtree_control"
        if control.exists():
            with contextlib.suppress(OSError):  # processes of others stand in the parent, or it has no such controller
                control.write_text(_CONTROLLERS, encoding="ascii")


def inside(groups: list[Path], argv: list[str]) -> list[str]:
    """Return a command that runs `argv` in groups."""
    script = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'
    return ["sh", "-c", script, "sh", *map(str, groups), "--", *argv]


def bound(groups: list[Path], argv: list[str]) -> list[str]:
    """Return a command that runs `argv` in groups and that is killed when whoever started it ends."""
    return ["setpriv", "--pdeathsig", "KILL", *inside(groups, argv)]
