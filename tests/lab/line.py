"""One line while it runs: its forwarder's process, what it does when nothing is wrong, and what is wrong now."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.lab import groups
from tests.lab.plan import Line, mac
from tests.lab.programs import LabError, ip_batch

if TYPE_CHECKING:
    from tests.lab.impairment import Impairment
    from tests.lab.places import Places

ROOT = Path(__file__).parents[2]
WAYS = ("up", "down")
_HAND_SECONDS = 1.0
FORWARDER = [sys.executable, "-m", "tests.lab.forwarder"]


class RunningLine:
    """A line of the plan, laid between its two ends."""

    def __init__(self, line: Line, places: Places, healthy: Impairment) -> None:
        """Know what it is to be; `healthy` is what it does each way when nothing is wrong."""
        self.line = line
        self.changes: dict[str, dict[str, Any]] = {way: {} for way in WAYS}
        self.plugged = True
        self._pulled_at = 0.0
        self._places = places
        self._healthy = healthy
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def broken(self) -> bool:
        """Whether nothing passes, so that a routing protocol would look for another way."""
        return not self.plugged or any(changes.get("cut") for changes in self.changes.values())

    def as_dict(self) -> dict[str, object]:
        """Return what it joins and whether it is of use now, for `lab status`."""
        line = self.line
        return {"kind": line.kind, "upper": line.upper, "lower": line.lower, "broken": self.broken}

    async def start(self, within: list[Path]) -> None:
        """Start the forwarder, and attach the ends in routers; a host's end comes with its power."""
        self._process = await asyncio.create_subprocess_exec(
            *groups.bound(within, FORWARDER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        await self.become({}, {})
        line = self.line
        await self.attach("upper")
        ip_batch(self._places.space(line.upper), f"address add {line.upper_address} dev {line.upper_device}")
        if line.lower_address:
            await self.attach("lower")
            ip_batch(self._places.space(line.lower), f"address add {line.lower_address} dev {line.lower_device}")

    async def attach(self, end: str) -> None:
        """Make the device of one end in its namespace."""
        line = self.line
        name, device = (line.upper, line.upper_device) if end == "upper" else (line.lower, line.lower_device)
        await self._tell(
            attach=end, space=self._places.space(name), device=device, mac=mac(name, device), bulk=line.kind != "access"
        )
        if end == "lower" and not self.plugged:
            await self._tell(carrier="lower", on=False)

    async def detach(self, end: str) -> None:
        """Take the device of one end away: its host is without power."""
        await self._tell(detach=end)

    async def become(self, up: dict[str, Any], down: dict[str, Any]) -> None:
        """Do this beside what the line does anyway, from now on."""
        self.changes = {"up": up, "down": down}
        does = {way: msgspec.structs.replace(self._healthy, **changes) for way, changes in self.changes.items()}
        await self._tell(impair={way: msgspec.to_builtins(impairment) for way, impairment in does.items()})

    async def change(self, ways: tuple[str, ...], changes: dict[str, Any]) -> None:
        """Do more beside that, in some directions; `delay_seconds` and `jitter_seconds` add to what is usual."""
        new = {way: dict(self.changes[way]) for way in WAYS}
        for way in ways:
            for name, value in changes.items():
                usual = getattr(self._healthy, name) if name in ("delay_seconds", "jitter_seconds") else None
                new[way][name] = value if usual is None else usual + value
        await self.become(new["up"], new["down"])

    async def plug(self, *, plugged: bool) -> None:
        """Put the plug of the lower end in, or pull it out."""
        now = asyncio.get_running_loop().time()
        if (
            plugged
        ):  # no hand is quicker, and systemd-networkd does not notice what is: then an address is missing for good
            await asyncio.sleep(self._pulled_at + _HAND_SECONDS - now)
        else:
            self._pulled_at = now
        self.plugged = plugged
        await self._tell(carrier="lower", on=plugged)

    async def heal(self) -> None:
        """Do again only what the line does when nothing is wrong."""
        await self.become({}, {})
        if not self.plugged:
            await self.plug(plugged=True)

    async def _tell(self, **command: object) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LabError(f"line {self.line.name} is not laid yet")
        async with self._turn:
            process.stdin.write(json.dumps(command).encode() + b"\n")
            await process.stdin.drain()
            answer = await asyncio.wait_for(process.stdout.readline(), 20)
        if not answer:
            raise LabError(f"the forwarder of line {self.line.name} has ended")
        if error := json.loads(answer).get("error"):
            raise LabError(f"line {self.line.name}: {error}")
