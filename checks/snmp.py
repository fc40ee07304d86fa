"""SNMP: what a switch, a UPS or a printer says of itself."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import host_address, split_host, split_host_port
from checks.check import CheckError, Noted, Unreachable
from checks.snmp_credentials import Credentials, read_credentials

if TYPE_CHECKING:
    from checks.snmp_session import Session

_PORT = 161
_LOOKUP_SECONDS = 2.0
_SPARE_SECONDS = 2.0  # also for the child process to start
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,9})){1,127}\Z", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d{1,30}(\.\d{1,30})?\Z", re.ASCII)
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,99}(\[[^\[\]\\]{1,99}\])?\Z", re.ASCII)


class Snmp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask a device, and who we are to it."""

    name: ClassVar[str] = "snmp"
    summary: ClassVar[str] = "what a switch, UPS, printer or any other device says of itself by SNMP"
    target_help: ClassVar[str] = "a device, with a port if it is not 161: 10.92.0.1, 10.92.0.1:1161 or [fd00::1]:161"
    # Measured with pysnmp 7.1.30, four interfaces: in the agent itself 21 to 32 MB more for good, growing with each
    # run, and 0.08 to 0.10 s of CPU that hold up other checks; in a child 0.20 to 0.23 s, and 42 MB for 0.25 s.
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the device answers and has what was asked for, else 0",
        "response_seconds": "time of the first answer, with SNMPv3's discovery, seconds",
        "uptime_seconds": "system: time since the device's SNMP agent started, seconds",
        "up[interface]": "interfaces: 1 when it has a link, else 0",
        "speed_bits_per_second[interface]": "interfaces: its speed, bits per second",
        "in_bytes_total[interface]": "interfaces: bytes received",
        "out_bytes_total[interface]": "interfaces: bytes sent",
        "in_errors_total[interface]": "interfaces: packets received with errors, count",
        "out_errors_total[interface]": "interfaces: packets that could not be sent for errors, count",
        "in_discards_total[interface]": "interfaces: received packets dropped, count",
        "out_discards_total[interface]": "interfaces: packets dropped before they were sent, count",
        "on_battery": "ups: 1 when the load is fed by the battery, else 0",
        "low_battery": "ups: 1 when the battery is low or empty, else 0",
        "on_battery_seconds": "ups: time on battery by now, seconds",
        "battery_runtime_seconds": "ups: how long the battery lasts under this load, seconds",
        "battery_charge_ratio": "ups: charge of the battery, 0 to 1",
        "battery_volts": "ups: voltage of the battery, volts",
        "temperature_celsius": "ups: temperature at the battery, degrees Celsius",
        "alarms": "ups: alarms that are present, count",
        "input_volts[line]": "ups: voltage of the mains, volts",
        "load_ratio[line]": "ups: share of its power in use, 0 to 1",
        "printer_status": "printer: 1 other, 2 unknown, 3 idle, 4 printing, 5 warming up",
        "trouble[kind]": "printer: 1 for no_paper, low_toner, door_open, jammed and other trouble it sees, else 0",
        "supply_ratio[supply]": "printer: what is left of a toner, drum and so on, 0 to 1; absent if it does not say",
        "paper_ratio[tray]": "printer: how full a tray is, 0 to 1; absent if it does not say",
        "pages_total": "printer: pages printed, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    profile: Annotated[
        Literal["system", "interfaces", "ups", "printer"], msgspec.Meta(description="which kind of device it is")
    ] = "system"
    oids: Annotated[
        dict[str, str], msgspec.Meta(description="more metrics by their objects: {fan_speed: 1.3.6.1.4.1.9.1.0}")
    ] = {}
    credentials_file: Annotated[
        str | None,
        msgspec.Meta(description="YAML with community, or user and passwords; none: community public"),
    ] = None
    interfaces: Annotated[tuple[str, ...], msgspec.Meta(description="interfaces by name, with * and ?")] = ("*",)
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=30, description="wait for an answer")] = 2.0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10, description="how often to ask before giving up")] = 2
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(ge=3, le=300, description="deadline of the whole check")] = 20.0

    def __post_init__(self) -> None:
        """Refuse names that no metric can have, and objects that are not numbers."""
        for metric, oid in self.oids.items():
            if not _METRIC.match(metric):
                raise ValueError(f"oids: {metric!r} is no metric's name; write fan_speed or temperature_celsius[rack]")
            if not _OID.match(oid):
                raise ValueError(f"oids: {metric}: {oid!r} is not an object's number; write 1.3.6.1.2.1.1.3.0")

    async def measure(self, target: str) -> dict[str, float]:
        """Ask the device `target`; `Unreachable` says why it does not answer or what it does not have."""
        host, port = _split(target)
        file = self.credentials_file
        who = read_credentials(Path(file)) if file else Credentials(community="public")
        family, where = await host_address(host, self.ip_version, _LOOKUP_SECONDS)
        from checks.snmp_session import Session  # noqa: PLC0415  (pysnmp, in the child process alone)

        session = Session(who, self.packet_timeout_seconds, self.attempts)
        metrics: dict[str, float] = {}
        notes: list[str] = []
        try:
            async with asyncio.timeout(self.timeout_seconds - _SPARE_SECONDS):
                await session.open(where[0], port, v6=family == socket.AF_INET6)
                await self._ask(session, metrics, notes)
        except Unreachable as exc:
            raise Unreachable(exc.reason, metrics, notes) from None
        except TimeoutError:
            raise Unreachable(f"the device was not done within {self.timeout_seconds:g} s", metrics, notes) from None
        finally:
            session.close()
        return Noted({"success": 1.0, **metrics}, notes)

    async def _ask(self, session: Session, metrics: dict[str, float], notes: list[str]) -> None:
        from checks.snmp_profiles import UPTIME, ask  # noqa: PLC0415  (as above)

        await session.get([UPTIME])
        metrics["response_seconds"] = session.first_seconds or 0.0
        notes += await ask(session, self.profile, self.interfaces, metrics)
        await self._ask_more(session, metrics, notes)

    async def _ask_more(self, session: Session, metrics: dict[str, float], notes: list[str]) -> None:
        """Ask for the objects that the user named; texts that are numbers count as such."""
        from checks.snmp_profiles import text  # noqa: PLC0415  (as above)

        found = await session.get(list(self.oids.values())) if self.oids else {}
        for metric, oid in self.oids.items():
            words = text(found[oid]) if oid in found else f"the device has no object {oid}"
            if oid in found and _NUMBER.match(words):
                metrics[metric] = float(words)
            else:
                notes.append(f"{metric}: {words}")


def _split(target: str) -> tuple[str, int]:
    """Part `host`, `host:port`, `[v6]:port` or a bare IPv6 address."""
    if target.startswith("[") and not target.endswith("]"):
        return split_host_port(target)
    if target.count(":") == 1:
        return split_host_port(target)
    try:
        return split_host(target), _PORT
    except CheckError:
        words = "is not a device; write 10.92.0.1, 10.92.0.1:1161 or [fd00::1]:161"
        raise CheckError(f"target {target!r} {words}") from None
