"""What can be done to a running province, by name: the owner calls these for whoever asks over its socket.

Quantities are in base units: seconds, ratios, bits a second. Each verb returns what it has to say, as plain data.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tests.lab import console
from tests.lab.door import Door
from tests.lab.line import WAYS, RunningLine
from tests.lab.plan import CONTROL, ONE_STOP
from tests.lab.programs import LabError, ado
from tests.lab.rogue import Rogue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.lab.machine import Machine
    from tests.lab.province import Province


T = TypeVar("T")


class Fault(NamedTuple):
    """What is out of order, in words, and what ends it."""

    words: str
    undo: Callable[[], Awaitable[None]]


class Verbs:
    """Verbs of one province; remembers which faults it made, so that `heal` ends them and `status` names them."""

    def __init__(self, province: Province) -> None:
        """Take the province."""
        self._province = province
        self._faults: dict[str, dict[str, Fault]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._doors: list[Door] = []  # whoever opened one goes on using it

    async def status(self) -> dict[str, Any]:
        """Return hosts, lines and the faults that were made."""
        province, plan = self._province, self._province.plan
        return {
            "name": province.places.name,
            "sites": plan.site_names,
            "hosts": {name: machine.as_dict() for name, machine in province.machines.items()},
            "lines": {name: line.as_dict() for name, line in province.lines.items()},
            "one_stop": plan.one_stop.addresses[0].partition("/")[0] if plan.one_stop.addresses else "",
            "board": f"http://127.0.0.1:{self._doors[-1].port}/" if self._doors else "",
            "faults": {
                place: {kind: fault.words for kind, fault in faults.items()} for place, faults in self._faults.items()
            },
        }  # fmt: skip

    async def cut(self, line: str, ways: list[str] | None = None, *, unplug: bool = False) -> str:
        """Let nothing pass; the link stays up unless the plug is pulled out."""
        running = self._line(line)
        if unplug:
            await running.plug(plugged=False)
        else:
            await running.change(_ways(ways), {"cut": True})
        self._reroute()
        return self._note(line, "line", "unplugged" if unplug else "cut" + _one_way(ways), running.heal)

    async def impair(self, line: str, changes: dict[str, Any], words: str, ways: list[str] | None = None) -> str:
        """Do something to the frames of a line; `words` say it in `status`."""
        running = self._line(line)
        await running.change(_ways(ways), changes)
        return self._note(line, ",".join(sorted(changes)), words + _one_way(ways), running.heal)

    async def heal(self, place: str) -> list[str]:
        """End every fault of a line, a host, a site with all it has, or of `all`; return what was ended."""
        ended, failed = [], []
        for name in self._faulty(place):
            for kind, fault in sorted(self._faults[name].items(), key=_power_first):
                try:
                    await fault.undo()
                except LabError as exc:
                    failed.append(f"{name}: {fault.words}: {exc}")
                else:
                    self._forget(name, kind)
                    ended.append(f"{name}: {fault.words}")
        self._reroute()
        if failed:
            raise LabError("could not heal:\n  " + "\n  ".join(failed))
        return ended

    async def power_off(self, host: str) -> str:
        """Take a host's power away."""
        machine = self._machine(host)
        await machine.power_off()
        return self._note(host, "power", "without power", machine.power_on)

    async def power_on(self, host: str) -> str:
        """Give it back; return once the host has booted."""
        await self._machine(host).power_on()
        self._forget(host, "power")
        return f"{host}: running"

    async def reboot(self, host: str) -> str:
        """Switch a host off and on."""
        await self._machine(host).power_off()
        return await self.power_on(host)

    async def fill_disk(self, host: str) -> str:
        """Leave no room on a host's disk."""
        disk = self._machine(host).disk
        await asyncio.to_thread(disk.fill)

        async def relieve() -> None:
            disk.relieve()

        return self._note(host, "disk", "disk full", relieve)

    async def stop_service(self, host: str, unit: str) -> str:
        """Stop a host's unit, or a service of the one-stop system's machine."""
        return await self._end_unit(host, unit, "stopped", ("stop",))

    async def kill_service(self, host: str, unit: str) -> str:
        """Kill a host's unit, and keep systemd from starting it again."""
        return await self._end_unit(host, unit, "killed", ("mask", "--runtime"), ("kill", "--signal=KILL"))

    async def start_service(self, host: str, unit: str) -> str:
        """Start what was stopped or killed."""
        if host == ONE_STOP:
            await self._province.city.serve(self._city_service(unit))
        else:
            for words in (("unmask", "--runtime"), ("reset-failed",), ("start",)):
                await self._systemctl(host, *words, unit)
        self._forget(host, unit)
        return f"{host}: {unit} started"

    async def wrong_dns(self) -> str:
        """Let the city's name server send everybody to an address where nobody is."""
        city = self._province.city
        await city.serve("dns", wrong=True)
        return self._note(ONE_STOP, "dns", "every name leads nowhere", functools.partial(city.serve, "dns"))

    async def expire_certificate(self, days: float = -1) -> str:
        """Let the one-stop system show a certificate that ran out, or has so many days left."""
        city = self._province.city
        city.certify(days)

        async def renew() -> None:
            city.certify(365)

        words = "certificate expired" if days < 0 else f"certificate: {days:g} days left"
        return self._note(ONE_STOP, "certificate", words, renew)

    async def on_battery(self, site: str) -> str:
        """Take the mains from a site's UPS."""
        ups = self._site(site, self._province.upses)
        ups.set_mains(there=False)

        async def mains() -> None:
            ups.set_mains(there=True)

        return self._note(site, "ups", "on battery", mains)

    async def rogue_dhcp(self, site: str) -> str:
        """Plug a stranger's DHCP server into a site's LAN."""
        province = self._province
        self._site(site, province.upses)
        if "dhcp" in self._faults.get(site, {}):
            raise LabError(f"there is a rogue DHCP server at {site} already")
        rogue = Rogue(site, province.places, province.made)
        await rogue.run()

        async def unplug() -> None:
            await asyncio.to_thread(rogue.unplug)

        return self._note(site, "dhcp", "a rogue DHCP server", unplug)

    async def open(self, host: str, authority: str, token: str, port: int = 0, target_port: int = 8443) -> int:
        """Open a door to a host's web service for people on this machine; return its port on loopback."""
        places = self._province.places
        file = places.folder / "board-ca.pem"
        file.write_text(authority, encoding="ascii")
        address = self._machine(host).host.address
        door = Door(places.space(CONTROL), (address, target_port), file, token)
        await door.open(port)
        self._doors.append(door)
        return door.port

    async def _end_unit(self, host: str, unit: str, words: str, *systemctl: tuple[str, ...]) -> str:
        if host == ONE_STOP:
            self._province.city.stop(self._city_service(unit))
        else:
            for each in systemctl:
                await self._systemctl(host, *each, unit)
        return self._note(host, unit, f"{unit} {words}", functools.partial(self._started, host, unit))

    async def _started(self, host: str, unit: str) -> None:
        await self.start_service(host, unit)

    async def _systemctl(self, host: str, *words: str) -> None:
        machine = self._machine(host)
        if not machine.leader:
            raise LabError(f"{host} is without power")
        await ado(*console.command(machine.leader, "systemctl", *words))

    def _city_service(self, name: str) -> str:
        services = self._province.city.services
        if name not in services:
            raise LabError(f"{ONE_STOP} has no service {name!r}; there are: {', '.join(services)}")
        return name

    def _site(self, name: str, things: dict[str, T]) -> T:
        if name not in things:
            raise LabError(f"there is no commune {name!r}; there are: {', '.join(things)}")
        return things[name]

    def _faulty(self, place: str) -> Iterable[str]:
        if place == "all":
            return list(self._faults)
        province = self._province
        if place in province.plan.site_names:
            own = [name for name, machine in province.machines.items() if machine.host.site == place]
            lines = [port.line for name in own for port in province.machines[name].host.ports if port.line]
            return [each for each in dict.fromkeys([place, *lines, *own]) if each in self._faults]
        known = [*province.lines, *province.machines, ONE_STOP]
        if place not in known:
            raise LabError(f"there is no {place!r}; there are: all, {', '.join(dict.fromkeys(known))}")
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

    def _note(self, place: str, kind: str, words: str, undo: Callable[[], Awaitable[None]]) -> str:
        self._faults.setdefault(place, {})[kind] = Fault(words, undo)
        return f"{place}: {words}"

    def _forget(self, place: str, kind: str) -> None:
        self._faults.get(place, {}).pop(kind, None)
        if not self._faults.get(place, True):
            del self._faults[place]

    def _reroute(self) -> None:
        async def later() -> None:
            await asyncio.sleep(self._province.settings.convergence_seconds)
            await self._province.route()

        task = asyncio.create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _power_first(fault: tuple[str, Fault]) -> bool:
    return fault[0] != "power"  # nothing else of a host can be put right without


def _ways(ways: list[str] | None) -> tuple[str, ...]:
    return tuple(ways or WAYS)


def _one_way(ways: list[str] | None) -> str:
    return f" ({ways[0]} only)" if ways and len(ways) == 1 else ""
