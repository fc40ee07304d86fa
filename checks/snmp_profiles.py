"""What to ask a kind of device, and what its answers mean in our units. Numbers of objects are those of the RFCs."""

from __future__ import annotations

import collections
import fnmatch
from typing import TYPE_CHECKING, Literal

from checks.check import Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.snmp_session import Rows, Session, Value

Profile = Literal["system", "interfaces", "ups", "printer"]

UPTIME = "1.3.6.1.2.1.1.3.0"
_TICKS_PER_SECOND = 100
_DESCRIPTION, _NAME = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.5.0"

# RFC 2863 (IF-MIB): by metric, the column of ifXTable, or else of ifTable with 32 bits; and a factor.
_IF_NAME, _IF_DESCRIPTION, _IF_STATUS = "1.3.6.1.2.1.31.1.1.1.1", "1.3.6.1.2.1.2.2.1.2", "1.3.6.1.2.1.2.2.1.8"
_IF_UP = 1
_IF_COLUMNS: dict[str, tuple[tuple[str, float], ...]] = {
    "in_bytes_total": (("1.3.6.1.2.1.31.1.1.1.6", 1), ("1.3.6.1.2.1.2.2.1.10", 1)),
    "out_bytes_total": (("1.3.6.1.2.1.31.1.1.1.10", 1), ("1.3.6.1.2.1.2.2.1.16", 1)),
    "in_errors_total": (("1.3.6.1.2.1.2.2.1.14", 1),),
    "out_errors_total": (("1.3.6.1.2.1.2.2.1.20", 1),),
    "in_discards_total": (("1.3.6.1.2.1.2.2.1.13", 1),),
    "out_discards_total": (("1.3.6.1.2.1.2.2.1.19", 1),),
    "speed_bits_per_second": (("1.3.6.1.2.1.31.1.1.1.15", 1e6), ("1.3.6.1.2.1.2.2.1.5", 1)),
}

# RFC 1628 (UPS-MIB)
_UPS = "1.3.6.1.2.1.33.1"
_UPS_STATUS, _UPS_SOURCE = f"{_UPS}.2.1.0", f"{_UPS}.4.1.0"
_UPS_ON_BATTERY, _UPS_LOW = 5, 3
_UPS_OBJECTS = {
    "on_battery_seconds": (f"{_UPS}.2.2.0", 1.0),
    "battery_runtime_seconds": (f"{_UPS}.2.3.0", 60.0),
    "battery_charge_ratio": (f"{_UPS}.2.4.0", 0.01),
    "battery_volts": (f"{_UPS}.2.5.0", 0.1),
    "temperature_celsius": (f"{_UPS}.2.7.0", 1.0),
    "alarms": (f"{_UPS}.6.1.0", 1.0),
}
_UPS_COLUMNS = {"input_volts": (f"{_UPS}.3.3.1.3", 1.0), "load_ratio": (f"{_UPS}.4.4.1.5", 0.01)}

# RFC 2790 (HOST-RESOURCES-MIB) and RFC 3805 (Printer-MIB)
_PRINTER_STATUS, _PRINTER_ERRORS = "1.3.6.1.2.1.25.3.5.1.1", "1.3.6.1.2.1.25.3.5.1.2"
_TROUBLES = ("low_paper", "no_paper", "low_toner", "no_toner", "door_open", "jammed", "offline", "service_requested")
_PAGES = "1.3.6.1.2.1.43.10.2.1.4"
_SUPPLY = {"name": "1.3.6.1.2.1.43.11.1.1.6", "most": "1.3.6.1.2.1.43.11.1.1.8", "level": "1.3.6.1.2.1.43.11.1.1.9"}
_PAPER = {"name": "1.3.6.1.2.1.43.8.2.1.13", "most": "1.3.6.1.2.1.43.8.2.1.9", "level": "1.3.6.1.2.1.43.8.2.1.10"}

_LONGEST_TEXT = 200


async def ask(session: Session, profile: Profile, wanted: Sequence[str], metrics: dict[str, float]) -> list[str]:
    """Ask what belongs to a profile, put it into `metrics`, return notes; `wanted` are patterns of interfaces' names.

    `Unreachable` where the device has none of it or stops to answer; `metrics` then holds what was measured before.
    """
    if profile == "system":
        return await _system(session, metrics)
    if profile == "interfaces":
        await _interfaces(session, wanted, metrics)
    else:
        await (_ups if profile == "ups" else _printer)(session, metrics)
    return []


async def _system(session: Session, metrics: dict[str, float]) -> list[str]:
    found = await session.get([UPTIME, _NAME, _DESCRIPTION])
    metrics |= _number("uptime_seconds", found.get(UPTIME), 1 / _TICKS_PER_SECOND)
    return [text(found[oid]) for oid in (_NAME, _DESCRIPTION) if oid in found and text(found[oid])]


async def _interfaces(session: Session, wanted: Sequence[str], metrics: dict[str, float]) -> None:
    status = await session.column(_IF_STATUS)
    if not status:
        raise Unreachable("the device answers, but has no table of interfaces (IF-MIB)")
    names = labels(await session.column(_IF_DESCRIPTION) | await session.column(_IF_NAME), status)
    names = {at: name for at, name in names.items() if any(fnmatch.fnmatchcase(name, each) for each in wanted)}
    metrics |= {f"up[{name}]": float(status[at] == _IF_UP) for at, name in names.items()}
    for metric, columns in _IF_COLUMNS.items():
        for oid, factor in columns:
            rows = await session.column(oid)
            for at, name in names.items():
                if rows.get(at) or metric != "speed_bits_per_second":  # an unknown speed is 0 there
                    metrics |= _number(f"{metric}[{name}]", rows.get(at), factor)
            if rows:
                break


async def _ups(session: Session, metrics: dict[str, float]) -> None:
    found = await session.get([_UPS_STATUS, _UPS_SOURCE, *(oid for oid, _ in _UPS_OBJECTS.values())])
    if not found:
        raise Unreachable("the device answers, but has nothing of a UPS (UPS-MIB, RFC 1628)")
    if isinstance(source := found.get(_UPS_SOURCE), int):
        metrics["on_battery"] = float(source == _UPS_ON_BATTERY)
    if isinstance(status := found.get(_UPS_STATUS), int):
        metrics["low_battery"] = float(status >= _UPS_LOW)
    for metric, (oid, factor) in _UPS_OBJECTS.items():
        metrics |= _number(metric, found.get(oid), factor)
    for metric, (oid, factor) in _UPS_COLUMNS.items():
        for at, value in (await session.column(oid)).items():
            metrics |= _number(f"{metric}[{'.'.join(map(str, at))}]", value, factor)


async def _printer(session: Session, metrics: dict[str, float]) -> None:
    asked = len(metrics)
    for value in list((await session.column(_PRINTER_STATUS)).values())[:1]:
        metrics |= _number("printer_status", value, 1)
    for value in list((await session.column(_PRINTER_ERRORS)).values())[:1]:
        metrics |= troubles(value)
    counts = [value for value in (await session.column(_PAGES)).values() if isinstance(value, int)]
    if counts:
        metrics["pages_total"] = float(sum(counts))
    for metric, table in (("supply_ratio", _SUPPLY), ("paper_ratio", _PAPER)):
        level, most = await session.column(table["level"]), await session.column(table["most"])
        for at, name in labels(await session.column(table["name"]), level).items():
            metrics |= _share(f"{metric}[{name}]", level[at], most.get(at))
    if len(metrics) == asked:
        raise Unreachable("the device answers, but has nothing of a printer (Printer-MIB, RFC 3805)")


def troubles(value: Value) -> dict[str, float]:
    """Read hrPrinterDetectedErrorState (RFC 2790): a string of bits, the first of which is the highest."""
    if not isinstance(value, bytes):
        return {}
    first = value[0] if value else 0
    return {f"trouble[{name}]": float(bool(first >> (7 - bit) & 1)) for bit, name in enumerate(_TROUBLES)}


def labels(texts: Rows, rows: Rows) -> dict[tuple[int, ...], str]:
    """Name each row for a metric's brackets: by its text, with its index where two have the same or one has none."""
    names = {at: text(texts.get(at, b"")).replace("[", "(").replace("]", ")") for at in rows}
    count = collections.Counter(names.values())
    named: dict[tuple[int, ...], str] = {}
    used: set[str] = set()
    for at, name in names.items():
        index = ".".join(map(str, at))
        unlike = name if name and count[name] == 1 else f"{name} {index}".strip()
        while unlike in used:
            unlike += f" {index}"
        used.add(unlike)
        named[at] = unlike
    return named


def text(value: Value) -> str:
    """Return a device's text on one line, as printable as it is; devices pad with NULs and write old code pages."""
    if isinstance(value, int):
        return str(value)
    words = value.decode("utf-8", errors="replace")
    plain = "".join(char if char.isprintable() else " " for char in words).replace("\\", "/")
    return " ".join(plain.split())[:_LONGEST_TEXT].strip()


def _number(metric: str, value: Value | None, factor: float) -> dict[str, float]:
    return {metric: value * factor} if isinstance(value, int) else {}


def _share(metric: str, level: Value, most: Value | None) -> dict[str, float]:
    """Return a share; negative levels and capacities mean "unknown" and "some" (RFC 3805), which is no number."""
    if isinstance(level, int) and isinstance(most, int) and level >= 0 and most > 0:
        return {metric: min(1.0, level / most)}
    return {}
