"""The province while it runs: everything of the plan, made, booted, and put out of order by verbs."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import time
from typing import TYPE_CHECKING

from tests.lab import base, groups, keys, network, ups
from tests.lab.city import City
from tests.lab.line import RunningLine
from tests.lab.machine import Machine
from tests.lab.plan import CONTROL
from tests.lab.ups import Ups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.made import Made
    from tests.lab.places import Places
    from tests.lab.plan import Plan
    from tests.lab.settings import Settings


class Province:
    """Hosts, lines and the network between them, made from a plan."""

    def __init__(self, plan: Plan, settings: Settings, places: Places, made: Made) -> None:
        """Put it together; nothing is made yet."""
        self.plan, self.settings, self.places, self.made = plan, settings, places, made
        self.lines = {
            line.name: RunningLine(line, places, settings.impairment(line.kind, line.name)) for line in plan.lines
        }
        self.machines = {host.name: Machine(host, places, made, self.lines) for host in plan.hosts}
        self.city = City(plan, places, made)
        self.upses = {
            site: Ups(site, _numbered(lan, ups.LAST_NUMBER), places, made) for site, (lan, _) in plan.lans.items()
        }

    async def make(self, inventory: Path, say: Callable[[str], None]) -> None:
        """Make everything and boot all hosts."""
        began = time.monotonic()
        system = await asyncio.to_thread(base.ensure, self.settings.base, say)
        made = time.monotonic()
        self._folders(inventory)
        await asyncio.to_thread(keys.make, self.plan, self.places)
        await asyncio.to_thread(network.lay, self.plan, self.places, self.made)
        within = groups.paths(self.places.prefix, "lines")
        groups.make(within)
        groups.make(groups.paths(self.places.prefix, CONTROL))
        await asyncio.gather(*(line.start(within) for line in self.lines.values()))
        hosts = (self._up(machine, system) for machine in self.machines.values())
        await asyncio.gather(self.city.run(), *(each.run() for each in self.upses.values()), *hosts)
        await self.route()
        took = time.monotonic() - made
        say(f"{len(self.machines)} hosts booted in {took:.1f} s" + (
            f", after {made - began:.0f} s for the base system" if made - began > 1 else ""
        ))  # fmt: skip

    def _folders(self, inventory: Path) -> None:
        for group in groups.paths(self.places.prefix):
            self.made.will_be("group", group)
        groups.make(groups.paths(self.places.prefix))
        self.made.will_be("shared", self.places.disks.parent)
        self.made.will_be("folder", self.places.disks)
        self.places.disks.mkdir(parents=True, mode=0o700)
        shutil.copytree(inventory, self.places.inventory)

    async def _up(self, machine: Machine, system: Path) -> None:
        await machine.disk.make(system, self.settings.disk_megabytes, self.made)
        machine.disk.set_up(machine.host, self.places, self.plan.resolver)
        await machine.power_on()

    async def route(self) -> None:
        """Let the carrier's routers know which lines can be used now."""
        broken = {name for name, line in self.lines.items() if line.broken}
        await asyncio.to_thread(network.set_routes, self.places, self.plan.routes(broken))


def _numbered(network: str, last: int) -> str:
    return str(ipaddress.ip_network(network)[last])
