"""What a lab has made on this machine: written down before it is made, and undone from that, whoever is left to do it.

A line of the record is `kind path`. Undoing goes from the last to the first and does not mind what is gone already,
so it can follow a kill at any moment. Nothing is undone that is not in the record.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

_END_SECONDS = 20
_BUSY_TRIES = 100


class Made:
    """The record of one lab, in a file of its folder."""

    def __init__(self, file: Path) -> None:
        """Go on with the record in `file`, or begin it."""
        self._file = file

    def will_be(self, kind: str, what: str | Path) -> None:
        """Write down that a `group` of processes, `space`, `mount`, `folder` or `file` is about to be made."""
        with self._file.open("a", encoding="utf-8") as record:
            record.write(f"{kind} {what}\n")

    def undo(self) -> None:
        """Take away all that is in the record; LabError names what would not go."""
        rows = self._rows()
        end_processes([Path(what) for kind, what in rows if kind == "group"])
        stuck = []
        for kind, what in reversed(rows):
            try:
                _UNDO[kind](what)
            except OSError as exc:
                stuck.append(f"{what}: {exc}")
        if stuck:
            raise LabError("could not take away:\n  " + "\n  ".join(stuck))
        self._file.unlink(missing_ok=True)

    def _rows(self) -> list[tuple[str, str]]:
        if not self._file.exists():
            return []
        lines = self._file.read_text(encoding="utf-8").splitlines()
        pairs = [line.partition(" ")[::2] for line in lines]
        return list(dict.fromkeys((kind, what) for kind, what in pairs if kind in _UNDO and what))


def processes(groups: Iterable[Path]) -> list[int]:
    """Return the processes in control groups and in those below them."""
    found = []
    for group in groups:
        for folder, _, _ in os.walk(group):  # which does not mind groups that go meanwhile
            with contextlib.suppress(OSError):
                found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split() if line != "0"]
    return found


def end_processes(groups: Iterable[Path]) -> None:
    """Kill everything in control groups and return once nothing is left there."""
    groups = list(groups)
    deadline = time.monotonic() + _END_SECONDS
    while left := processes(groups):
        if time.monotonic() > deadline:
            raise LabError(f"processes {left} do not end")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def remove_group(group: str | Path) -> None:
    """Remove an empty control group and those below it; one whose last process is just ending is busy for a moment."""
    for folder, _, _ in os.walk(group, topdown=False):
        for left in reversed(range(_BUSY_TRIES)):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if not left:
                    raise
                time.sleep(0.02)
            else:
                break


def unmount(path: str | Path) -> None:
    """Unmount what is mounted there, as often as it is."""
    while os.path.ismount(path):
        done = subprocess.run(["umount", str(path)], check=False, capture_output=True, text=True)
        if done.returncode:
            subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)
            if os.path.ismount(path):
                raise OSError(done.stderr.strip())


def remove_space(name: str) -> None:
    """Delete a network namespace and what lives in it."""
    if Path("/run/netns", name).exists():
        done = subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip())


def _remove_folder(path: str) -> None:
    if os.path.ismount(path):
        raise OSError("something is still mounted there")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _remove_empty(path: str) -> None:
    with contextlib.suppress(OSError):  # others use it too
        Path(path).rmdir()


_UNDO = {
    "group": remove_group,
    "space": remove_space,
    "mount": unmount,
    "folder": _remove_folder,
    "shared": _remove_empty,
    "file": lambda path: Path(path).unlink(missing_ok=True),
}
