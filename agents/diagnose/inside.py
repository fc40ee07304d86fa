"""The site's own view: its gateway runs the same checks, asked over SSH. Host keys are pinned in the inventory.

OpenSSH's client does it, as for Ansible: the same keys, the same known hosts. Nothing secret is an argument; a host
without a pinned key is not asked, one that shows another is an answer in itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

import msgspec

from agents.diagnose.finding import Finding, of_result, unseen
from agents.diagnose.looks import plan_of
from checks.result import Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from agents.diagnose.looks import Look

_COMMAND = "nhip check run --plan - --format json"
_CONNECT_SECONDS = 2
_REFUSED = 255
_WORDS = {
    "HOST IDENTIFICATION HAS CHANGED": "it shows another host key than the one that is pinned",
    "Host key verification failed": "its host key is not pinned in the inventory",
    "Permission denied": "it does not take our key",
    "timed out": "it does not answer",
    "Connection refused": "no SSH server answers there",
    "No route to host": "it does not answer",
}


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """How to log in: as whom, with the key in which file (the user's own where none is named), and who is trusted."""

    known_hosts: Path
    user: str = "root"
    identity: Path | None = None
    port: int = 22


class _Told(msgspec.Struct):
    """A result as `nhip check run` prints it."""

    id: str
    check: str = ""
    target: str = ""
    metrics: dict[str, float] = {}
    reason: str | None = None
    error: str | None = None


def command(host: str, login: Login) -> list[str]:
    """Return the client's arguments: nobody is asked anything, no other host key is taken, nothing is forwarded."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(login.known_hosts.absolute()),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "ConnectionAttempts": "1",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "UpdateHostKeys": "no",
        "LogLevel": "ERROR",
    }
    key = ["-i", str(login.identity), "-o", "IdentitiesOnly=yes"] if login.identity is not None else []
    words = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "/dev/null", "-T", "-p", str(login.port), "-l", login.user, *key, *words, "--", host, _COMMAND]


async def look_inside(host: str, looks: Sequence[Look], login: Login) -> AsyncIterator[Finding]:
    """Yield what the gateway at `host` sees, as it says so. Cancelled, it leaves no process behind."""
    if shutil.which("ssh") is None:
        yield unseen("login", host, "there is no ssh here")
        return
    process = await asyncio.create_subprocess_exec(
        *command(host, login), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None  # noqa: S101  (for mypy: they are pipes)
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):
            process.stdin.write(plan_of(looks))
            await process.stdin.drain()
        process.stdin.close()
        heard = False
        while line := await process.stdout.readline():
            found = _finding(line, looks)
            if found is not None and not heard:
                heard = True
                yield Finding(probe="login", target=host, state="well")
            if found is not None:
                yield found
        said = (await process.stderr.read(4000)).decode(errors="replace")
        code = await process.wait()
        if not heard:
            yield _refusal(host, code, said)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _finding(line: bytes, looks: Sequence[Look]) -> Finding | None:
    """Return what a line says; a host may say anything, and what is no result is passed over."""
    try:
        told = msgspec.json.decode(line, type=_Told)
        look = looks[int(told.id)]
    except (msgspec.DecodeError, ValueError, IndexError):
        return None
    result = Result(
        site="", node="", check=look.check, target=look.target, measured_at=0, duration_seconds=0.0,
        metrics=told.metrics, reason=told.reason, error=told.error,
    )  # fmt: skip
    return of_result(result, probe=look.probe, about=look.about, line=look.line)


def _refusal(host: str, code: int, said: str) -> Finding:
    if code != _REFUSED:
        return unseen("login", host, f"nhip does not run there: {_last_line(said) or code}")
    words = next((words for sign, words in _WORDS.items() if sign in said), "")
    return unseen("login", host, words or _last_line(said) or "ssh failed")


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
