"""A site's UPS: NUT's own server, with a UPS that its dummy driver plays from a file. Target: ups@ADDRESS:3493."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.device import Device
from tests.lab.plan import Port

if TYPE_CHECKING:
    from tests.lab.made import Made
    from tests.lab.places import Places

DRIVER, SERVER = Path("/lib/nut/dummy-ups"), Path("/lib/nut/upsd")
LAST_NUMBER = 250  # of its address on the site's LAN
_MAINS = {"ups.status": "OL CHRG", "battery.charge": "100", "battery.runtime": "2400", "input.voltage": "229.5"}
_BATTERY = {"ups.status": "OB DISCHRG", "battery.charge": "71", "battery.runtime": "1260", "input.voltage": "0"}
_OTHERS = {"ups.model": "Lab UPS 1000", "ups.load": "33", "ups.temperature": "31.5", "battery.voltage": "27.1"}


class Ups(Device):
    """The UPS of one site."""

    def __init__(self, site: str, address: str, places: Places, made: Made) -> None:
        """Plan it on the site's LAN."""
        gateway = address.rpartition(".")[0] + ".1"
        port = Port("eth0", (f"{address}/24",), gateway, switch=f"switch-{site}")
        super().__init__(f"ups-{site}", port, places, made)

    async def run(self) -> None:
        """Put it up, on mains."""
        self.plug_in()
        home = self.folder
        (home / "ups.conf").write_text(f"[ups]\ndriver = dummy-ups\nport = {home}/ups.dev\nmode = dummy-loop\n")
        (home / "upsd.conf").write_text(f"LISTEN 0.0.0.0 3493\nSTATEPATH {home}\n")
        (home / "upsd.users").write_text("")
        places = dict.fromkeys(("NUT_CONFPATH", "NUT_STATEPATH", "NUT_PIDPATH", "NUT_ALTPIDPATH"), str(home))
        self.set_mains(there=True)
        await self.start("driver", str(DRIVER), "-a", "ups", "-u", "root", "-F", "-i", "1", environment=places)
        # upsd looks for the driver once, at its start, and a driver tells of itself by a file.
        while not (home / "dummy-ups-ups").exists():  # noqa: ASYNC110  (no event comes from another program)
            await asyncio.sleep(0.02)
        await self.start("server", str(SERVER), "-F", "-u", "root", environment=places)

    def set_mains(self, *, there: bool) -> None:
        """Give it mains, or let it live on its battery."""
        lines = [f"{name}: {value}\n" for name, value in (_OTHERS | (_MAINS if there else _BATTERY)).items()]
        (self.folder / "new").write_text("".join(lines), encoding="ascii")
        (self.folder / "new").replace(self.folder / "ups.dev")
