"""Measure in a child process: for checks whose libraries are too large, or too blocking, for an agent to keep.

An agent lives in some 30 MiB; scapy alone would add 66 for good. A check with `child_process = True` is therefore
measured by a Python of its own, which ends with the measurement and gives all of its memory back. Parameters go in by
standard input and never by the command line, because they may hold secrets and everybody may read a process list.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from checks.check import CheckError, Noted, Unreachable
from checks.phases import spent_seconds

if TYPE_CHECKING:
    from checks.check import Check

_ROOT = Path(__file__).parents[1]
_STDERR_TAIL = 300
_RETURN_SECONDS = 0.25
"""What a busy machine may take to carry the reply home before `run` stops waiting."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is asked, and when, on the monotonic clock that all processes of a machine share."""

    check: str
    parameters: dict[str, object]
    target: str
    asked_at: float


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What it found: metrics and notes, and the words of what the check raised: `Unreachable` or `CheckError`."""

    metrics: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    reason: str | None = None
    error: str | None = None


async def measure_in_child(check: Check, target: str) -> dict[str, float]:
    """Measure `target` in a child process and return its metrics, or raise what the check raised there.

    Cancelling kills the child. A child that dies is a `CheckError` with the last words it said.
    """
    parameters = msgspec.to_builtins(check)
    request = Request(check=check.name, parameters=parameters, target=target, asked_at=time.monotonic())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "checks.child"),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(msgspec.json.encode(request))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        reply = msgspec.json.decode(out, type=Reply)
    except msgspec.DecodeError:
        said = err.decode(errors="replace").strip()[-_STDERR_TAIL:] or "nothing"
        raise CheckError(
            f"the process that measures {check.name} ended ({process.returncode}), saying: {said}"
        ) from None
    if reply.error is not None:
        raise CheckError(reply.error)
    if reply.reason is not None:
        raise Unreachable(reply.reason, reply.metrics, reply.notes)
    return Noted(reply.metrics, reply.notes)


async def _answer(request: Request) -> Reply:
    from checks import registry  # noqa: PLC0415  (only the child needs it; the parent comes here by way of it)

    check = registry.make(request.check, request.parameters)
    spent_seconds.set(time.monotonic() - request.asked_at + min(_RETURN_SECONDS, check.timeout_seconds / 10))
    try:
        metrics = await check.measure(request.target)
        return Reply(metrics=metrics, notes=getattr(metrics, "notes", ()))
    except Unreachable as exc:
        return Reply(metrics={**check.unreachable, **exc.metrics}, reason=exc.reason, notes=exc.notes)
    except CheckError as exc:
        return Reply(error=str(exc))
    except ImportError as exc:
        return Reply(error=f"{request.check} needs the Python package {exc.name!r}, which is not installed")


def main() -> None:
    """Be the child: one request on standard input, one reply on standard output."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_answer(request))))
    sys.stdout.buffer.flush()
    os._exit(0)  # taking the large libraries apart in good order would keep the parent waiting, for nothing


if __name__ == "__main__":
    main()
