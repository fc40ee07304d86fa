"""Where a lab keeps its things on this machine, and what they are called. Every name carries the lab's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.programs import LabError

RUNTIME = Path("/run/nhip-lab")
DISKS = Path("/var/tmp/nhip-lab")  # noqa: S108  (hosts' disks are too big for /run; the folder is root's alone)
DEFAULT = "province"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")


@dataclass(frozen=True)
class Places:
    """Names and paths of one lab."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could not be part of others."""
        if not _NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} is no name for a lab: a letter, then up to 23 of a-z, 0-9 and -")

    @property
    def prefix(self) -> str:
        """What every name begins with."""
        return f"nhip-lab-{self.name}"

    @property
    def command(self) -> str:
        """How people call the command for this lab."""
        return "tests/lab/lab" + ("" if self.name == DEFAULT else f" --name {self.name}")

    @property
    def folder(self) -> Path:
        """Keys, inventory, logs and the control socket; root's alone."""
        return RUNTIME / self.name

    @property
    def disks(self) -> Path:
        """The hosts' disks."""
        return DISKS / self.name

    @property
    def socket(self) -> Path:
        """Where the owner listens."""
        return self.folder / "owner.sock"

    @property
    def lock(self) -> Path:
        """Locked by the owner as long as it lives; outside the folder, because it outlives that."""
        return RUNTIME / f"{self.name}.lock"

    @property
    def record(self) -> Path:
        """What was made (`made.py`)."""
        return RUNTIME / f"{self.name}.made"

    @property
    def key(self) -> Path:
        """The control node's SSH key."""
        return self.folder / "ssh" / "key"

    @property
    def known_hosts(self) -> Path:
        """Every host's key, pinned before first contact."""
        return self.folder / "ssh" / "known_hosts"

    @property
    def inventory(self) -> Path:
        """The lab's own copy of the inventory, which playbooks may write to."""
        return self.folder / "inventory"

    def space(self, name: str) -> str:
        """Return the network namespace of a host, a router or a switch."""
        return f"{self.prefix}-{name}"
