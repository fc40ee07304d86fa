"""Things in the province that no playbook configures: a namespace on somebody's LAN, and programs that run in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import groups, network
from tests.lab.made import end_processes, remove_group, remove_space
from tests.lab.programs import ip_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.made import Made
    from tests.lab.places import Places
    from tests.lab.plan import Port

ROOT = Path(__file__).parents[2]


class Device:
    """One such thing; its programs are known by a name each."""

    def __init__(self, name: str, port: Port, places: Places, made: Made) -> None:
        """Know where it is plugged in."""
        self.name = name
        self.folder = places.folder / "devices" / name
        self._port, self._places, self._made = port, places, made
        self._started: dict[str, asyncio.subprocess.Process] = {}

    def plug_in(self) -> None:
        """Put it on its LAN, with its addresses."""
        self.folder.mkdir(parents=True, exist_ok=True)  # of the same thing, plugged in before
        network.add_space(self._places, self.name, self._made)
        network.plug_in(self._places, self.name, self._port)
        lines = [f"address add {address} dev {self._port.device}" for address in self._port.addresses]
        lines += [f"route add default via {self._port.gateway}"] if self._port.gateway else []
        ip_batch(self._places.space(self.name), *lines)

    def unplug(self) -> None:
        """Take it away, with its programs."""
        for program in list(self._started):
            self.stop(program)
        network.unplug(self._places, self.name, self._port)
        remove_space(self._places.space(self.name))

    async def start(self, program: str, *argv: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a program there, anew if it runs already."""
        self.stop(program)
        within = self._groups(program)
        groups.make(within)
        with (self._places.folder / f"{self.name}.log").open("ab") as log:
            self._started[program] = await asyncio.create_subprocess_exec(
                *groups.bound(within, ["ip", "netns", "exec", self._places.space(self.name), *argv]),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip

    def stop(self, program: str) -> None:
        """End a program there, if it runs."""
        if program in self._started:
            process = self._started.pop(program)
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # it may not be in its group yet
            end_processes(self._groups(program))
            for group in self._groups(program):
                remove_group(group)

    def _groups(self, program: str) -> list[Path]:
        return groups.paths(self._places.prefix, f"{self.name}.{program}")
