"""What the city has already: its one-stop system (a page over HTTP and HTTPS) and its name server, at one address."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.checks.pki import Identity, issue
from tests.lab.device import Device
from tests.lab.plan import ONE_STOP, Port

if TYPE_CHECKING:
    from tests.lab.made import Made
    from tests.lab.places import Places
    from tests.lab.plan import Plan

NOWHERE = "192.0.2.66"  # an address of documentation (RFC 5737)
_YEAR_DAYS = 365
_PAGE = """<!doctype html>
<html lang="vi"><head><meta charset="utf-8"><title>Một cửa</title></head>
<body><h1>Hệ thống thông tin giải quyết thủ tục hành chính: Một cửa</h1><p>Đăng nhập</p></body></html>
"""


class City(Device):
    """The one-stop system's machine."""

    def __init__(self, plan: Plan, places: Places, made: Made) -> None:
        """Plan it on the data centre's LAN."""
        super().__init__(ONE_STOP, plan.one_stop, places, made)
        self._plan = plan
        self._authority: Identity = issue("Lab authority", ca=True, days=_YEAR_DAYS)

    @property
    def services(self) -> tuple[str, ...]:
        """The names of what runs there."""
        return ("web", "dns")

    async def run(self) -> None:
        """Put it up and start everything."""
        self.plug_in()
        (self.folder / "index.html").write_text(_PAGE, encoding="utf-8")
        (self.folder / "ca.pem").write_bytes(self._authority.pem)
        self.certify(_YEAR_DAYS)
        for service in self.services:
            await self.serve(service)

    async def serve(self, service: str, *, wrong: bool = False) -> None:
        """Start a service; a `wrong` name server sends everybody nowhere."""
        if service == "web":
            await self.start("web", sys.executable, "-m", "tests.lab.web", str(self.folder))
        else:
            answers = [f"--address=/#/{NOWHERE}"] if wrong else self._records()
            quiet = (
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
                "--pid-file=",
                "--log-facility=-",
            )
            await self.start("dns", "dnsmasq", "--keep-in-foreground", "--bind-interfaces", *quiet, *answers)

    def certify(self, days: float) -> None:
        """Give the web service a certificate that has so many days left; in the past where negative."""
        hosts = (f"{ONE_STOP}.{self._plan.domain}", _plain(self._plan.one_stop))
        issue(hosts[0], self._authority, hosts=hosts, days=days).write(self.folder, "server")

    def _records(self) -> list[str]:
        plan, domain = self._plan, self._plan.domain
        named = {ONE_STOP: _plain(plan.one_stop)}
        for host in plan.hosts:
            if host.address:
                named[host.name] = host.address
                if host.kind == "data_centre_host":
                    named |= dict.fromkeys(("collector", "reflector", "ntp", "mirror"), host.address)
        return [f"--local=/{domain}/", *(f"--host-record={name}.{domain},{address}" for name, address in named.items())]


def _plain(port: Port) -> str:
    return port.addresses[0].partition("/")[0]
