"""The system that every host begins with: a small Debian, made once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.settings import Base

_LAST_WORDS = 15


def cache() -> Path:
    """Return the folder where bases are kept."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "nhip" / "lab"


def path_of(base: Base) -> Path:
    """Return where this base is or will be: another list of packages or another suite is another base."""
    digest = hashlib.sha256("\n".join([base.suite, *sorted(base.packages)]).encode()).hexdigest()
    return cache() / f"{base.suite}-{digest[:12]}"


def ensure(base: Base, say: Callable[[str], None]) -> Path:
    """Return the base's folder, made first if it is not there; two who ask at once get the same one."""
    ready = path_of(base)
    ready.parent.mkdir(parents=True, exist_ok=True)
    with (ready.parent / f"{ready.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            say(f"making the base system with debootstrap, once, in {ready} (a minute or two)")
            _make(base, ready)
    return ready


def _make(base: Base, ready: Path) -> None:
    for left in ready.parent.glob(f".{ready.name}.*"):  # of one that was killed: nobody else is here, by the lock
        shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=f".{ready.name}.", dir=ready.parent))
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(base.packages)}", base.suite, str(folder)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        shutil.rmtree(folder)
        words = "\n".join(done.stdout.splitlines()[-_LAST_WORDS:])
        raise LabError(f"debootstrap failed; its last words:\n{words}")
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
    folder.chmod(0o755)
    folder.rename(ready)
