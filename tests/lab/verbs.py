"""What can be done to a running province, by name: the owner calls these for whoever asks over its socket.

Quantities are in base units: seconds, ratios, bits a second. Each verb returns what it has to say, as plain data.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.lab.line import WAYS, RunningLine
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.lab.machine import Machine
    from tests.lab.province import Province


class Verbs:
    """Verbs of one province; remembers which faults it made, so that `heal` ends them and `status` names them."""

    def __init__(self, province: Province) -> None:
        """Take the province."""
        self._province = province
        self._faults: dict[str, dict[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def status(self) -> dict[str, Any]:
        """Return hosts, lines and the faults that were made."""
        province, plan = self._province, self._province.plan
        return {
            "name": province.places.name,
            "sites": plan.site_names,
            "hosts": {name: machine.as_dict() for name, machine in province.machines.items()},
            "lines": {name: line.as_dict() for name, line in province.lines.items()},
            "faults": self._faults,
        }  # fmt: skip

    async def cut(self, line: str, ways: list[str] | None = None, *, unplug: bool = False) -> None:
        """Let nothing pass; the link stays up unless the plug is pulled out."""
        running = self._line(line)
        if unplug:
            await running.plug(plugged=False)
        else:
            await running.change(_ways(ways), {"cut": True})
        self._note(line, "line", "unplugged" if unplug else "cut" + _one_way(ways))
        self._reroute()

    async def impair(self, line: str, changes: dict[str, Any], words: str, ways: list[str] | None = None) -> None:
        """Do something to the frames of a line; `words` say it in `status`."""
        await self._line(line).change(_ways(ways), changes)
        self._note(line, ",".join(sorted(changes)), words + _one_way(ways))

    async def heal(self, place: str) -> list[str]:
        """End every fault of a line, a host, a site with all it has, or of `all`; return what was ended."""
        province = self._province
        names = self._faulty(place)
        ended = []
        for name in names:
            ended += [f"{name}: {words}" for words in self._faults.pop(name, {}).values()]
            if name in province.lines:
                await province.lines[name].heal()
            if name in province.machines:
                province.machines[name].disk.relieve()
                await province.machines[name].power_on()
        self._reroute()
        return ended

    async def power_off(self, host: str) -> None:
        """Take a host's power away."""
        await self._machine(host).power_off()
        self._note(host, "power", "without power")

    async def power_on(self, host: str) -> None:
        """Give it back; return once the host has booted."""
        await self._machine(host).power_on()
        self._faults.get(host, {}).pop("power", None)

    async def reboot(self, host: str) -> None:
        """Switch a host off and on."""
        await self.power_off(host)
        await self.power_on(host)

    async def fill_disk(self, host: str) -> None:
        """Leave no room on a host's disk."""
        await asyncio.to_thread(self._machine(host).disk.fill)
        self._note(host, "disk", "disk full")

    def _faulty(self, place: str) -> Iterable[str]:
        if place == "all":
            return list(self._faults)
        province = self._province
        if place in province.plan.site_names:
            own = [name for name, machine in province.machines.items() if machine.host.site == place]
            lines = [port.line for name in own for port in province.machines[name].host.ports if port.line]
            return [each for each in dict.fromkeys([place, *lines, *own]) if each in self._faults]
        if place not in province.lines and place not in province.machines:
            raise LabError(f"there is no {place!r}; there are: all, {', '.join([*province.lines, *province.machines])}")
        return [place] if place in self._faults else []

    def _line(self, name: str) -> RunningLine:
        lines = self._province.lines
        if name not in lines:
            raise LabError(f"there is no line {name!r}; there are: {', '.join(lines)}")
        return lines[name]

    def _machine(self, name: str) -> Machine:
        machines = self._province.machines
        if name not in machines:
            raise LabError(f"there is no host {name!r}; there are: {', '.join(machines)}")
        return machines[name]

    def _note(self, place: str, kind: str, words: str) -> None:
        self._faults.setdefault(place, {})[kind] = words

    def _reroute(self) -> None:
        async def later() -> None:
            await asyncio.sleep(self._province.settings.convergence_seconds)
            await self._province.route()

        task = asyncio.create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ways(ways: list[str] | None) -> tuple[str, ...]:
    return tuple(ways or WAYS)


def _one_way(ways: list[str] | None) -> str:
    return f" ({ways[0]} only)" if ways and len(ways) == 1 else ""
