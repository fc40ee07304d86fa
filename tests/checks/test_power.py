"""power against a real upsd, whose UPS is played by NUT's own dummy-ups from a file that the tests rewrite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.limits import load_limits
from checks.lines import LineError
from checks.nut_wire import NutError, parse_variable, quoted, variables
from checks.power import Power
from checks.run import run
from checks.strict import ConfigError
from checks.verdict import State, judge_once
from tests.checks.conftest import free_port, wait_for_port
from tests.checks.test_mail import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checks.result import Result

MAINS = {
    "ups.model": 'Box "1000"',
    "ups.status": "OL CHRG",
    "ups.load": "33",
    "ups.realpower": "180",
    "ups.temperature": "31.5",
    "battery.charge": "95",
    "battery.runtime": "1200",
    "battery.voltage": "27.1",
    "input.voltage": "229.5",
    "input.frequency": "50.1",
    "output.voltage": "230.1",
}


@dataclass(frozen=True)
class Ups:
    """A UPS that is what its file says, the driver that reads it every second, and the upsd that tells of it."""

    home: Path
    port: int
    driver: subprocess.Popen[bytes]

    def becomes(self, **changes: str) -> None:
        """Change the UPS: `ups__status="OB"` sets ups.status; all else is as on mains."""
        play(self.home, **changes)

    async def ask(self, ups: str = "ups", **parameters: Any) -> Result:
        return await run(Power(**parameters), f"{ups}@127.0.0.1:{self.port}", site="s", node="n")

    async def when(self, true: Callable[[Result], bool]) -> Result:
        """Ask until the driver has read the file and upsd tells what it says."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            result = await self.ask()
            if true(result):
                return result
            await asyncio.sleep(0.1)
        pytest.fail(f"the UPS did not change; it last said {result}")


def play(home: Path, **changes: str) -> None:
    """Write what the UPS is to be, as a whole: the driver may read at any moment."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    text = "".join(f"{name}: {value}\n" for name, value in (MAINS | named).items())
    (home / "new").write_text(text, encoding="ascii")
    (home / "new").replace(home / "ups.dev")


@contextlib.contextmanager
def upsd() -> Iterator[Ups]:
    if os.geteuid() != 0 or not Path("/lib/nut/dummy-ups").exists():
        pytest.skip("needs root and nut-server (apt install nut-server)")
    with tempfile.TemporaryDirectory(prefix="nhip-nut-") as name, contextlib.ExitStack() as stack:
        home, port = Path(name), free_port()
        (home / "ups.conf").write_text(f"[ups]\ndriver = dummy-ups\nport = {home}/ups.dev\nmode = dummy-loop\n")
        (home / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {port}\nSTATEPATH {home}\n")
        (home / "upsd.users").write_text("[probe]\npassword = s3cret\n")
        places = dict.fromkeys(("NUT_CONFPATH", "NUT_STATEPATH", "NUT_PIDPATH", "NUT_ALTPIDPATH"), name)

        def start(*words: str) -> subprocess.Popen[bytes]:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(words, env={**os.environ, **places}, **quiet)  # type: ignore[call-overload]  # as above
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            return process

        play(home)
        driver = start("/lib/nut/dummy-ups", "-a", "ups", "-u", "root", "-F", "-i", "1")
        deadline = time.monotonic() + 20
        while not (home / "dummy-ups-ups").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        wait_for_port(port, start("/lib/nut/upsd", "-F", "-u", "root"))
        yield Ups(home, port, driver)


@pytest.fixture(scope="module")
def ups() -> Iterator[Ups]:
    with upsd() as running:
        yield running


def says(**metrics: float) -> Callable[[Result], bool]:
    return lambda result: all(result.metrics.get(name) == value for name, value in metrics.items())


async def test_on_mains_all_is_well_and_nothing_is_noted(ups: Ups) -> None:
    ups.becomes()
    result = await ups.when(says(online=1, charging=1, battery_charge_ratio=0.95))
    assert (result.reason, result.notes, result.error) == (None, (), None)
    metrics = dict(result.metrics)
    assert metrics.pop("response_seconds") > 0
    assert metrics == {
        "success": 1, "online": 1, "on_battery": 0, "low_battery": 0, "replace_battery": 0, "charging": 1,
        "on_bypass": 0, "overloaded": 0, "switched_off": 0, "forced_shutdown": 0, "battery_charge_ratio": 0.95,
        "battery_runtime_seconds": 1200, "battery_volts": 27.1, "load_ratio": pytest.approx(0.33), "power_watts": 180,
        "input_volts": 229.5, "input_hertz": 50.1, "output_volts": 230.1, "temperature_celsius": 31.5,
    }  # fmt: skip
    assert set(result.metrics) == set(Power.metrics)
    assert judge_once(result, load_limits())[0] is State.OK


async def test_a_power_cut_warns_at_once_and_says_how_long_it_lasts(ups: Ups) -> None:
    ups.becomes(ups__status="OB DISCHRG", battery__runtime="1260", input__voltage="0")
    result = await ups.when(says(on_battery=1, battery_runtime_seconds=1260))
    assert result.notes == ("UPS on battery, 21 minutes left",)
    assert (result.metrics["online"], result.metrics["success"], result.metrics["input_volts"]) == (0, 1, 0)
    state, breaches = judge_once(result, load_limits())
    assert state is State.WARNING
    assert [breach.metric for breach in breaches] == ["on_battery"]
    limit = next(limit for limit in load_limits() if (limit.check, limit.metric) == ("power", "on_battery"))
    assert (limit.k, limit.n) == (1, 1), "who waits for a second look has lost a minute of battery"


async def test_an_empty_battery_is_critical(ups: Ups) -> None:
    ups.becomes(ups__status="OB LB", battery__runtime="100", battery__charge="9")
    result = await ups.when(says(low_battery=1, battery_runtime_seconds=100))
    assert result.notes == ("UPS on battery, 2 minutes left; battery low",)
    state, breaches = judge_once(result, load_limits())
    assert state is State.CRITICAL
    assert {"low_battery", "battery_runtime_seconds"} <= {breach.metric for breach in breaches}


async def test_what_else_is_not_well_is_said(ups: Ups) -> None:
    ups.becomes(ups__status="OL RB BYPASS OVER", ups__load="104")
    result = await ups.when(says(replace_battery=1))
    assert result.notes == ("UPS battery must be replaced; on bypass: no battery would take over; overloaded",)
    assert result.metrics["load_ratio"] == pytest.approx(1.04)


async def test_a_ups_that_nobody_knows_is_named(ups: Ups) -> None:
    result = await ups.ask("other")
    assert (result.reason, result.metrics["success"]) == ("upsd knows no UPS of that name", 0)


async def test_a_user_of_upsd_may_ask_too(ups: Ups, tmp_path: Path) -> None:
    ups.becomes()
    (tmp_path / "password").write_text("s3cret\n", encoding="ascii")
    (tmp_path / "password").chmod(0o600)
    await ups.when(says(online=1))
    result = await ups.ask(user="probe", password_file=str(tmp_path / "password"))
    assert result.metrics["success"] == 1


async def test_a_ups_whose_driver_died_is_not_taken_for_well() -> None:
    with upsd() as running:
        await running.when(says(online=1))
        running.driver.terminate()
        result = await running.when(lambda result: result.reason is not None)
    assert result.reason is not None
    assert result.reason.startswith("upsd "), "it is stale, disconnected or waiting, as upsd happens to notice"
    assert result.metrics["success"] == 0
    assert "online" not in result.metrics


async def ask(port: int, **parameters: Any) -> Result:
    return await run(Power(**parameters), f"ups@127.0.0.1:{port}", site="s", node="n")


def listing(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in ("BEGIN LIST VAR ups", *lines, "END LIST VAR ups")).encode()


def speak(answer: bytes) -> Any:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        await reader.readline()

    return handle


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-x\n", "the answer is not that of upsd: 'SSH-2.0-x'"),
        (b"ERR ACCESS-DENIED\n", "upsd does not let us read: access denied"),
        (b"ERR FEATURE-NOT-CONFIGURED\n", "upsd refuses: FEATURE-NOT-CONFIGURED"),
        (b"ERR DATA-STALE\n", "upsd has lost contact with the UPS: its data are stale"),
        (listing(), "upsd does not know how the UPS is: its status is not told"),
        (listing('VAR ups ups.status "WAIT"'), "upsd does not know how the UPS is: its status is WAIT"),
        (listing('VAR other ups.status "OL"'), "upsd tells of another UPS than was asked for: other"),
        (listing("VAR ups ups.status OL"), "the answer is not that of upsd: 'VAR ups ups.status OL'"),
        (listing(*['VAR ups x "1"'] * 2000), "upsd lists more than 1000 variables"),
        (b"BEGIN LIST VAR ups\n" + b"x" * 9000, "the server sends a line of more than 8192 bytes"),
        (b"BEGIN LIST VAR ups\n", "the server closed the connection"),
    ],
)
async def test_what_is_no_list_of_variables_is_said(answer: bytes, reason: str, serve: Any) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with serve(handle) as port:
        result = await ask(port)
    assert (result.reason, result.error) == (reason, None)
    assert result.metrics["success"] == 0


async def test_numbers_that_are_none_are_absent(serve: Any) -> None:
    status = 'VAR ups ups.status "OL"'
    strange = ['VAR ups battery.charge "full"', 'VAR ups ups.load "nan"', 'VAR ups input.voltage "1e999"']
    async with serve(speak(listing(status, *strange, 'VAR ups battery.runtime ""'))) as port:
        result = await ask(port)
    assert result.metrics["online"] == 1
    assert not {"battery_charge_ratio", "load_ratio", "input_volts", "battery_runtime_seconds"} & set(result.metrics)


async def test_silence_and_a_closed_port_are_measurements(serve: Any, free_tcp_port: int) -> None:
    refused = await ask(free_tcp_port)
    assert (refused.reason, refused.metrics) == ("connection refused", {"success": 0})
    async with serve(lambda *_: asyncio.sleep(60)) as port:
        silent = await ask(port, timeout_seconds=0.5)
    assert silent.reason == "no answer from upsd within 0.5 s"


@pytest.mark.parametrize("target", ["localhost", "@localhost", "u p s@localhost", "ups\n@localhost"])
async def test_a_target_that_names_no_ups_is_our_error(target: str) -> None:
    result = await run(Power(), target, site="s", node="n")
    assert result.error == f"target {target!r} is not ups@host; write apc@localhost or apc@10.0.0.5:3493"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"user": "probe"}, "user and password_file are given together, or neither"),
        ({"user": "a\nb", "password_file": "/x"}, "user is empty or has a control character"),
        ({"port": 1}, "$.port: is unknown; there are: ip_version"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("power", parameters)
    assert message in str(caught.value)


# The lines.


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))
def test_a_value_is_read_as_it_was_quoted(value: str) -> None:
    assert parse_variable(f"VAR ups ups.model {quoted(value)}") == ("ups", "ups.model", value)


@given(st.text())
def test_a_line_is_a_variable_or_refused_in_words(text: str) -> None:
    for line in (text, f"VAR {text}", f'VAR ups x "{text}"'):
        with contextlib.suppress(NutError):
            assert len(parse_variable(line)) == 3


@given(st.binary(max_size=500), st.booleans())
def test_noise_ends_in_variables_or_in_words(noise: bytes, begun: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    data = (b"BEGIN LIST VAR ups\n" if begun else b"") + noise
    with contextlib.suppress(NutError, LineError):
        assert isinstance(asyncio.run(_variables(data)), dict)


async def _variables(data: bytes) -> Any:
    return await variables(lines_of(data, 7), "ups")
