"""What this machine must have for a lab: root, a few programs, TUN devices. All that is missing is said at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.lab.programs import LabError

_PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "setpriv": "util-linux",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "dnsmasq": "dnsmasq-base",
    "/lib/nut/upsd": "nut-server",
}
_LIMITS = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524_288}


def missing() -> str:
    """Return what keeps a lab from running here and what to type, or nothing."""
    wanted = sorted({package for program, package in _PROGRAMS.items() if not shutil.which(program)})
    sudo = "" if os.geteuid() == 0 else "sudo "
    words = []
    if wanted:
        words.append(
            f"Debian packages are missing; type: {sudo}apt-get install --no-install-recommends {' '.join(wanted)}"
        )
    if os.geteuid() != 0:
        words.append("a lab boots machines and makes networks, so it needs root; type: sudo tests/lab/lab …")
    elif not Path("/dev/net/tun").exists():
        words.append("there is no /dev/net/tun; type: modprobe tun")
    return "\n".join(words)


def make_room() -> None:
    """Let many systemds run on one kernel: each takes a dozen of these from root's share; one that gets none hangs.

    They are limits of the whole machine, so they are only ever raised.
    """
    for name, least in _LIMITS.items():
        file = Path("/proc/sys", name)
        if int(file.read_text(encoding="ascii")) < least:
            file.write_text(str(least), encoding="ascii")


def check() -> None:
    """Raise LabError with all that is missing."""
    words = missing()
    if words:
        raise LabError(words)
