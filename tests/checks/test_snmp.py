"""snmp against a real snmpd that also plays a UPS and a printer, and against servers that send garbage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.check import CheckError
from checks.run import run
from checks.snmp import Snmp
from checks.snmp_credentials import read_credentials
from checks.snmp_profiles import labels, text, troubles
from checks.strict import ConfigError
from tests.checks.snmp_device import UPS, running_snmpd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.checks.snmp_device import Device

LONG = "".join(f"1.3.6.1.2.1.33.1.4.4.1.5.{row} integer 50\n" for row in range(1, 3000))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with running_snmpd(tmp_path_factory.mktemp("snmpd"), UPS) as running:
        yield running


async def test_a_device_tells_how_long_it_is_up_and_what_it_is(device: Device) -> None:
    result = await device.ask()
    assert (result.error, result.reason) == (None, None)
    assert set(result.metrics) == {"success", "response_seconds", "uptime_seconds"}
    assert result.metrics["success"] == 1
    assert any("Linux" in note for note in result.notes)


async def test_interfaces_have_their_64_bit_counters_by_name(device: Device) -> None:
    result = await device.ask(profile="interfaces", interfaces=["l*"])
    assert (result.error, result.reason) == (None, None)
    metrics = result.metrics
    assert metrics["up[lo]"] == 1
    assert {name for name in metrics if "[" in name and not name.endswith("[lo]")} == set()
    for name in ("in_bytes_total", "out_bytes_total", "in_errors_total", "out_discards_total"):
        assert metrics[f"{name}[lo]"] >= 0
    assert metrics["in_bytes_total[lo]"] == metrics["out_bytes_total[lo]"] > 0


async def test_a_ups_says_how_long_it_still_lasts(device: Device) -> None:
    result = await device.ask(profile="ups")
    assert (result.error, result.reason) == (None, None)
    metrics = {name: round(value, 6) for name, value in result.metrics.items() if name != "response_seconds"}
    assert metrics == {
        "success": 1, "on_battery": 1, "low_battery": 1, "on_battery_seconds": 95, "battery_runtime_seconds": 240,
        "battery_charge_ratio": 0.62, "battery_volts": 24.1, "input_volts[1]": 0, "load_ratio[1]": 0.35, "alarms": 2,
    }  # fmt: skip


async def test_a_printer_says_what_it_lacks(device: Device) -> None:
    result = await device.ask(profile="printer")
    assert (result.error, result.reason) == (None, None)
    metrics = result.metrics
    assert (metrics["printer_status"], metrics["pages_total"]) == (3, 48_213)
    troubled = {name for name, value in metrics.items() if name.startswith("trouble[") and value}
    assert troubled == {"trouble[no_paper]", "trouble[no_toner]"}
    assert metrics["supply_ratio[Toner (black)]"] == pytest.approx(0.05)
    assert metrics["paper_ratio[Tray 1]"] == pytest.approx(0.2)
    assert not {"supply_ratio[Drum]", "paper_ratio[Bypass]"} & set(metrics), "some and unknown are no numbers"


async def test_objects_of_ones_own_are_numbers_or_notes(device: Device) -> None:
    oids = {
        "alarms_now": "1.3.6.1.2.1.33.1.6.1.0",
        "fans": "1.3.6.1.4.1.99999.1.0",
        "model": "1.3.6.1.2.1.43.8.2.1.13.1.1",
    }
    result = await device.ask(oids=oids)
    assert result.metrics["alarms_now"] == 2
    assert not {"fans", "model"} & set(result.metrics)
    assert result.notes[-2:] == ("fans: the device has no object 1.3.6.1.4.1.99999.1.0", "model: Tray 1")


@pytest.mark.parametrize(
    "words",
    [
        {"user": "plain"},
        {"user": "signed", "auth_password": "signsign1"},
        {"user": "sealed", "auth_protocol": "SHA-256", "auth_password": "signsign2", "priv_password": "sealseal2"},
    ],
)
async def test_each_level_of_version_3_is_spoken(device: Device, words: dict[str, str]) -> None:
    result = await device.ask(credentials_file=device.credentials(**words))
    assert (result.error, result.reason, result.metrics["success"]) == (None, None, 1)


SEALED = {"user": "sealed", "auth_protocol": "SHA-256", "auth_password": "signsign2", "priv_password": "sealseal2"}
QUICK = {"packet_timeout_seconds": 0.3, "attempts": 2}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"community": "wrong"}, "no answer by SNMP in 2 attempts of 0.3 s, or it does not accept the community"),
        ({"user": "nobody"}, "the device does not know this user"),
        (
            SEALED | {"auth_password": "wrongwrong"},
            "the device does not accept the authentication password or protocol",
        ),
        (SEALED | {"auth_protocol": "SHA"}, "the device does not accept the authentication password or protocol"),
        (SEALED | {"priv_password": "wrongwrong"}, "or it does not accept the priv_password"),
    ],
)
async def test_who_is_not_let_in_reads_why_as_far_as_the_device_says(
    device: Device, words: dict[str, str], reason: str
) -> None:
    result = await device.ask(credentials_file=device.credentials(**words), **QUICK)
    assert reason in (result.reason or result.error or "")
    assert result.metrics == {"success": 0}
    assert "wrong" not in (result.reason or "")


async def test_a_device_without_what_was_asked_for_says_so(tmp_path: Path) -> None:
    with running_snmpd(tmp_path, "1.3.6.1.2.1.33.9.9.0 integer 1\n") as device:
        result = await device.ask(profile="ups")
        assert result.reason == "the device answers, but has nothing of a UPS (UPS-MIB, RFC 1628)"
        assert set(result.metrics) == {"success", "response_seconds"}


async def test_an_endless_table_is_read_up_to_a_bound(tmp_path: Path) -> None:
    with running_snmpd(tmp_path, "1.3.6.1.2.1.33.1.2.1.0 integer 2\n" + LONG) as device:
        result = await device.ask(profile="ups", timeout_seconds=100)
        rows = [name for name in result.metrics if name.startswith("load_ratio")]
        assert 1000 < len(rows) < 1100


@pytest.mark.parametrize(
    "answer", [b"", b"\x00" * 40, b"0\x82\xff\xff\x02\x01\x01\x04\x06public", b"GET / HTTP/1.1\r\n"]
)
async def test_a_server_of_garbage_is_no_answer(answer: bytes) -> None:
    class Garbage(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            for _ in range(20):
                self.transport.sendto(answer + data[:5], addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Garbage, local_addr=("127.0.0.1", 0))
    try:
        target = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
        result = await run(Snmp(**QUICK), target, site="s", node="n")
    finally:
        transport.close()
    assert result.error is None
    assert result.reason is not None
    assert result.metrics == {"success": 0}


async def test_nobody_there_is_no_answer(free_udp_port: int) -> None:
    result = await run(Snmp(**QUICK), f"127.0.0.1:{free_udp_port}", site="s", node="n")
    assert result.reason is not None
    assert result.reason.startswith("no answer by SNMP in 2 attempts of 0.3 s")


@pytest.mark.parametrize("target", ["", "a b", "http://a/", "10.0.0.1:x", "[fd00::1"])
async def test_a_target_that_is_no_device_is_our_error(target: str) -> None:
    result = await run(Snmp(), target, site="s", node="n")
    assert result.error is not None
    assert result.error.startswith(f"target {target!r} is not ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("community: a\nuser: b\n", "needs either community (SNMPv2c) or user (SNMPv3)"),
        ("user: b\npriv_password: secretsecret\n", "priv_password needs auth_password"),
        ("user: b\nauth_password: secret7\n", "auth_password is shorter than 8 characters (RFC 3414, 11.2)"),
        ("community: a\nauth_password: secretsecret\n", "passwords belong to a user: SNMPv2c has none"),
        ("user: b\npassword: secretsecret\n", "password: is unknown; there are: "),
        ("user: [secretsecret\n", "line"),
    ],
)
def test_a_bad_file_of_credentials_says_what_would_be_right_and_no_secret(
    tmp_path: Path, words: str, message: str
) -> None:
    file = tmp_path / "credentials"
    file.touch(mode=0o600)
    file.write_text(words, encoding="ascii")
    with pytest.raises(CheckError) as caught:
        read_credentials(file)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_of_credentials_that_everybody_reads_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("community: commune31120\n", encoding="ascii")
    file.chmod(0o644)
    with pytest.raises(CheckError, match="is open to every user of this machine") as caught:
        read_credentials(file)
    assert str(caught.value).endswith(f"(mode 0644): chmod 0600 {file}")
    file.chmod(0o600)
    assert "commune31120" not in repr(read_credentials(file))
    with pytest.raises(CheckError, match="cannot be read: No such file"):
        read_credentials(tmp_path / "none")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"profile": "router"}, "$.profile: 'router' is not one of: system, interfaces, ups, printer"),
        ({"oids": {"Fan Speed": "1.3.6.1"}}, "oids: 'Fan Speed' is no metric's name; write fan_speed"),
        (
            {"oids": {"fan": "sysUpTime.0"}},
            "oids: fan: 'sysUpTime.0' is not an object's number; write 1.3.6.1.2.1.1.3.0",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("snmp", parameters)
    assert message in str(caught.value)


@given(texts=st.dictionaries(st.tuples(st.integers(0, 5)), st.binary(max_size=300), max_size=5))
def test_any_texts_make_names_that_differ_and_that_a_line_can_hold(texts: dict[tuple[int, ...], bytes]) -> None:
    rows = dict.fromkeys([(number,) for number in range(6)], 0)
    named = labels(texts, rows)
    assert list(named) == list(rows)
    for name in named.values():
        assert name.isprintable()
        assert not {"[", "]", "\\", "\n"} & set(name)
        assert 0 < len(name) <= 210
    assert len(set(named.values())) == len(rows)


@given(value=st.binary(max_size=8) | st.integers())
def test_any_bits_are_troubles_or_nothing(value: bytes | int) -> None:
    found = troubles(value)
    assert len(found) == (8 if isinstance(value, bytes) else 0)
    assert set(found.values()) <= {0.0, 1.0}
    assert text(value).isprintable()
