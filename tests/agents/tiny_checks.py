"""Checks small enough to see through, and `make`, which builds them where an agent would ask the registry.

Run as a program it is `nhip agent` with these checks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

if TYPE_CHECKING:
    from checks.check import Check

sys.path.insert(0, str(Path(__file__).parents[2]))

from checks.check import CheckError, Unreachable
from checks.strict import ConfigError, build


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts its own runs: `n` is 1, 2, 3 …, so a lost or repeated result shows."""

    name: ClassVar[str] = "count"
    summary: ClassVar[str] = "count"
    target_help: ClassVar[str] = "anything"
    metrics: ClassVar[Mapping[str, str]] = {"n": "how often it ran"}
    unreachable: ClassVar[Mapping[str, float]] = {"n": 0}
    runs: ClassVar[dict[str, int]] = {}

    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    takes_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    async def measure(self, target: str) -> dict[str, float]:
        await asyncio.sleep(self.takes_seconds)
        Count.runs[target] = Count.runs.get(target, 0) + 1
        return {"n": Count.runs[target]}


class Fail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends as its `how` says."""

    name: ClassVar[str] = "fail"
    summary: ClassVar[str] = "fail"
    target_help: ClassVar[str] = "anything"
    metrics: ClassVar[Mapping[str, str]] = {"success": "never"}
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0}

    timeout_seconds: float = 5.0
    how: str = "error"

    async def measure(self, target: str) -> dict[str, float]:
        if self.how == "unreachable":
            raise Unreachable("two\nlines")
        if self.how == "nan":
            return {"success": float("nan")}
        raise CheckError(f"not allowed to ask {target}")


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Loads the line, or says so: it needs a lease."""

    name: ClassVar[str] = "load"
    summary: ClassVar[str] = "load"
    target_help: ClassVar[str] = "anything"
    metrics: ClassVar[Mapping[str, str]] = {"bytes_sent": "bytes", "bytes_received": "bytes"}
    unreachable: ClassVar[Mapping[str, float]] = {}
    lease: ClassVar[bool] = True
    lease_bytes: ClassVar[int] = 1_000_000

    timeout_seconds: float = 1.0

    async def measure(self, target: str) -> dict[str, float]:  # noqa: ARG002  (a check's own signature)
        return {"bytes_sent": 300.0, "bytes_received": 40.0}


def make(name: str, parameters: Mapping[str, object], path: str = "$") -> Check:
    """Build a tiny check as `registry.make` would."""
    known: dict[str, type[Check]] = {"count": Count, "fail": Fail, "load": Load}
    if name not in known:
        raise ConfigError([("$", f"no check is called {name!r}; there are: {', '.join(known)}")])
    return build(known[name], dict(parameters), path)


if __name__ == "__main__":
    from agents.command import main

    sys.exit(main(sys.argv[1:], make))
