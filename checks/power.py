"""Power: is the site on mains or on battery, and for how long, as its UPS tells Network UPS Tools."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import Annotated, ClassVar, Literal

import msgspec

from checks.address import split_host_default_port
from checks.check import CheckError, Noted
from checks.connect import connect, words
from checks.lines import LineError, Lines, shown
from checks.nut_wire import NutError, log_in, variables
from checks.phases import Phases
from checks.secret import hide, read_password

_PORT = 3493
_UPS = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z", re.ASCII)
_MINUTE = 60

_FLAGS = {
    "online": "OL",
    "on_battery": "OB",
    "low_battery": "LB",
    "replace_battery": "RB",
    "charging": "CHRG",
    "on_bypass": "BYPASS",
    "overloaded": "OVER",
    "switched_off": "OFF",
    "forced_shutdown": "FSD",
}
_WORDS = {
    "low_battery": "battery low",
    "replace_battery": "battery must be replaced",
    "on_bypass": "on bypass: no battery would take over",
    "overloaded": "overloaded",
    "switched_off": "switched off",
    "forced_shutdown": "about to switch off",
}
_NUMBERS = {
    "battery_charge_ratio": ("battery.charge", 100),
    "battery_runtime_seconds": ("battery.runtime", 1),
    "battery_volts": ("battery.voltage", 1),
    "load_ratio": ("ups.load", 100),
    "power_watts": ("ups.realpower", 1),
    "input_volts": ("input.voltage", 1),
    "input_hertz": ("input.frequency", 1),
    "output_volts": ("output.voltage", 1),
    "temperature_celsius": ("ups.temperature", 1),
}


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a question to `upsd` about one UPS."""

    name: ClassVar[str] = "power"
    summary: ClassVar[str] = "whether a UPS runs on mains or on battery, and how long it lasts (Network UPS Tools)"
    target_help: ClassVar[str] = "ups@host or ups@host:port, 3493 without one: apc@localhost"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when upsd knows how the UPS is, else 0",
        "online": "1 when mains power is there, else 0",
        "on_battery": "1 when the UPS feeds from its battery, else 0",
        "low_battery": "1 when the battery is nearly empty, else 0",
        "replace_battery": "1 when the battery must be replaced, else 0",
        "charging": "1 when the battery is being charged, else 0",
        "on_bypass": "1 when mains goes straight through, so that no battery would take over, else 0",
        "overloaded": "1 when more is connected than the UPS can feed, else 0",
        "switched_off": "1 when the UPS feeds nothing, else 0",
        "forced_shutdown": "1 when upsd is about to have the UPS switched off, else 0",
        "battery_charge_ratio": "charge of the battery, 0 to 1",
        "battery_runtime_seconds": "how long the battery would last at this load, by the UPS's own estimate, seconds",
        "battery_volts": "voltage of the battery, volts",
        "load_ratio": "share of what the UPS can feed that is in use, 0 to 1",
        "power_watts": "real power that is fed, watts",
        "input_volts": "voltage of the mains, volts",
        "input_hertz": "frequency of the mains, hertz",
        "output_volts": "voltage that the UPS gives, volts",
        "temperature_celsius": "temperature inside the UPS, degrees Celsius",
        "response_seconds": "time from the start to the whole answer of upsd, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    user: Annotated[str | None, msgspec.Meta(description="a user of upsd.users; reading needs none as a rule")] = None
    password_file: Annotated[str | None, msgspec.Meta(description="file that holds the password alone")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 5.0

    def __post_init__(self) -> None:
        """Refuse half a login."""
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file are given together, or neither")
        if self.user is not None and not (self.user and self.user.isprintable()):
            raise ValueError("user is empty or has a control character")

    async def measure(self, target: str) -> dict[str, float]:
        """Ask about the UPS `target`; a note says in words what is not well with it."""
        ups, at, where = target.partition("@")
        if not at or not _UPS.match(ups):
            raise CheckError(f"target {target!r} is not ups@host; write apc@localhost or apc@10.0.0.5:3493")
        host, port = split_host_default_port(where, _PORT)
        password = read_password(self.password_file)
        phases = Phases(self.timeout_seconds)
        found = await self._ask(phases, ups, host, port, password)
        flags = found.get("ups.status", "").split()
        if not {"OL", "OB", "OFF", "BYPASS"} & set(flags):
            phases.fail(f"upsd does not know how the UPS is: its status is {shown(' '.join(flags)) or 'not told'}")
        metrics = {"success": 1.0} | {metric: float(flag in flags) for metric, flag in _FLAGS.items()}
        metrics |= _numbers(found) | {"response_seconds": phases.metrics["response_seconds"]}
        return Noted(metrics, _notes(metrics))

    async def _ask(self, phases: Phases, ups: str, host: str, port: int, password: str) -> Mapping[str, str]:
        async with phases.phase("response_seconds", "no answer from upsd"):
            inner = Phases(phases.timeout_seconds)
            with contextlib.closing(await connect(inner, host, port, self.ip_version)) as sock:
                lines = Lines.over_socket(sock)
                try:
                    if self.user is not None:
                        await log_in(lines, self.user, password)
                    found = await variables(lines, ups)
                    await lines.send("LOGOUT")
                except (NutError, LineError) as exc:
                    phases.fail(hide(str(exc), password))
                except OSError as exc:
                    phases.fail(f"{words(exc)} in the middle of the answer")
        return found


def _numbers(found: Mapping[str, str]) -> dict[str, float]:
    """Return the variables that are numbers, in our units. What a UPS does not tell, or not as a number, is absent."""
    numbers = {}
    for metric, (variable, units) in _NUMBERS.items():
        with contextlib.suppress(KeyError, ValueError):
            value = float(found[variable])
            if math.isfinite(value):
                numbers[metric] = value / units
    return numbers


def _notes(metrics: Mapping[str, float]) -> list[str]:
    """Say what is not well: `UPS on battery, 12 minutes left; battery must be replaced`."""
    said = []
    if metrics["on_battery"]:
        left = metrics.get("battery_runtime_seconds")
        said.append("on battery" + ("" if left is None else f", {left / _MINUTE:.0f} minutes left"))
    said += [words for metric, words in _WORDS.items() if metrics[metric]]
    return [f"UPS {'; '.join(said)}"] if said else []
