"""A host's disk: a file of limited size over the base of all, and what a technician leaves on it at the site."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.lab.keys import host_key
from tests.lab.programs import LabError, ado

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.made import Made
    from tests.lab.places import Places
    from tests.lab.plan import Host, Port

_NETWORKD = "/lib/systemd/system/systemd-networkd.service"
_SOURCES = """deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""


class Disk:
    """One host's disk. What is written stays there when the host loses power."""

    def __init__(self, places: Places, name: str) -> None:
        """Know its place."""
        self._folder = places.disks / name
        self._image, self._own, self.root = (self._folder / part for part in ("image", "own", "root"))
        self._ballast = self._own / "ballast"

    async def make(self, base: Path, megabytes: int, made: Made) -> None:
        """Make it and mount it over the base."""
        self._folder.mkdir(parents=True)
        self._own.mkdir()
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(megabytes << 20)
        # No journal, no waiting for this machine's disk: a power cut in the lab spares the machine's memory.
        await ado("mkfs.ext4", "-q", "-m0", "-O", "^has_journal", str(self._image))
        made.will_be("mount", self._own)
        await ado("mount", "-o", "loop,noatime", str(self._image), str(self._own))
        for part in ("upper", "work"):
            (self._own / part).mkdir()
        made.will_be("mount", self.root)
        parts = f"lowerdir={base},upperdir={self._own}/upper,workdir={self._own}/work"
        try:
            await ado("mount", "-t", "overlay", "overlay", "-o", f"{parts},volatile", str(self.root))
        except LabError:  # Linux before 5.10
            await ado("mount", "-t", "overlay", "overlay", "-o", parts, str(self.root))

    def fill(self) -> None:
        """Leave no room for anybody."""
        free = self.free_bytes()
        with self._ballast.open("ab") as file:
            for step in (free, 1 << 20, 1 << 12):
                try:
                    while True:
                        _grow(file.fileno(), step)
                except OSError:
                    continue

    def relieve(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return the room that is left."""
        stats = os.statvfs(self._own)
        return stats.f_bavail * stats.f_frsize

    def set_up(self, host: Host, places: Places, resolver: str) -> None:
        """Leave on it what a technician does: a name, the first line's address, the control node's key."""
        etc = self.root / "etc"
        _write(etc / "hostname", f"{host.name}\n")
        _write(etc / "hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n::1 localhost\n")
        _write(etc / "machine-id", "")
        _write(etc / "resolv.conf", f"nameserver {resolver}\n")
        _write(etc / "apt/sources.list", _SOURCES)
        for old in (etc / "ssh").glob("ssh_host_*"):
            old.unlink()
        key = host_key(places, host.name)
        _write(etc / "ssh/ssh_host_ed25519_key", key.read_text(encoding="ascii"), 0o600)
        _write(etc / "ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_text(encoding="ascii"))
        authorized = places.key.with_suffix(".pub").read_text(encoding="ascii")
        _write(self.root / "root/.ssh/authorized_keys", authorized, 0o600)
        (self.root / "root/.ssh").chmod(0o700)
        for port in host.ports:
            if port.addresses:
                # After all names that a playbook may choose: the first file that matches a device counts.
                _write(etc / f"systemd/network/90-{port.device}.network", network_file(port))
        wants = etc / "systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "systemd-networkd.service").symlink_to(_NETWORKD)


def network_file(port: Port) -> str:
    """Return systemd-networkd's file for a device as it is set up by hand at a site."""
    lines = ["# Set up by hand when the machine was put up.", "[Match]", f"Name={port.device}", "", "[Network]"]
    lines += [f"Address={address}" for address in port.addresses]
    if port.gateway:
        lines.append(f"Gateway={port.gateway}")
    return "\n".join([*lines, ""])


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode)
    path.write_text(text, encoding="utf-8")


def _grow(file: int, by: int) -> None:
    os.posix_fallocate(file, os.fstat(file).st_size, by)
