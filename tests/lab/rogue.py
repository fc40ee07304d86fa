"""A stranger's DHCP server on a site's LAN: a router from home that somebody plugged in, with itself as the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.device import Device
from tests.lab.plan import Port

if TYPE_CHECKING:
    from tests.lab.made import Made
    from tests.lab.places import Places

_NETWORK = "192.168.1"


class Rogue(Device):
    """The stranger's box."""

    def __init__(self, site: str, places: Places, made: Made) -> None:
        """Plan it on the site's LAN."""
        super().__init__(f"rogue-{site}", Port("eth0", (f"{_NETWORK}.1/24",), switch=f"switch-{site}"), places, made)

    async def run(self) -> None:
        """Plug it in."""
        self.plug_in()
        offers = (f"--dhcp-range={_NETWORK}.100,{_NETWORK}.150,1h", f"--dhcp-leasefile={self.folder}/leases")
        quiet = ("--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--port=0")
        await self.start("dhcp", "dnsmasq", "--keep-in-foreground", *quiet, "--interface=eth0", *offers)
