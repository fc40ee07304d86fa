"""Running other programs: one way to do it, and one error that says what they said."""

from __future__ import annotations

import asyncio
import subprocess


class LabError(RuntimeError):
    """The lab cannot do what it was asked to; the text says why and what would help."""


def do(*argv: str, stdin: str | None = None) -> str:
    """Run a short program to its end and return its output; LabError when it fails."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, input=stdin, timeout=120)
    return _said(argv, done.returncode, done.stdout, done.stderr)


async def ado(*argv: str, stdin: str | None = None) -> str:
    """Do the same while others go on."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate(stdin.encode() if stdin else b"")
    return _said(argv, process.returncode or 0, out.decode(), err.decode())


def _said(argv: tuple[str, ...], code: int, out: str, err: str) -> str:
    if code:
        raise LabError(f"{' '.join(argv)}: {(err or out).strip() or f'exit code {code}'}")
    return out


def ip_batch(space: str, *lines: str) -> None:
    """Run lines of `ip` in a namespace."""
    do("ip", "-netns", space, "-batch", "-", stdin="\n".join(lines) + "\n")
