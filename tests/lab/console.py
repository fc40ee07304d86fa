"""A host's console: commands beside its first process, which need no network."""

from __future__ import annotations

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command(leader: int, *argv: str) -> list[str]:
    """Return a command that runs `argv` in the host whose first process is `leader` out here."""
    enter = ["nsenter", "--target", str(leader), "--all", "--root", "--wd"]
    return [*enter, "/usr/bin/env", "-i", f"PATH={_PATH}", "HOME=/root", "TERM=linux", "LANG=C.UTF-8", *argv]
