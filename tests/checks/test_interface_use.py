"""interface_use on real interfaces, and its week of samples on counters that the tests make up."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.interface_use import InterfaceUse
from checks.interface_use_samples import ENOUGH, FULL_WEEK, Sample, Samples, difference, load, save, step
from checks.interfaces import Counters, boot_id, counters, interface_of
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Namespace

    from checks.result import Result

BOOT = b"b" * 16
WALL = 1_795_000_000.0
FASTEST = 400e6


async def look(target: str, folder: Path, **parameters: Any) -> Result:
    return await run(InterfaceUse(state_file=str(folder / "week"), **parameters), target, site="s", node="n")


def week(rates: list[float]) -> Samples:
    """Let an interface carry these rates, five minutes each."""
    samples, sent = Samples(), 0
    samples = step(samples, Counters(0.0, 0, 0), boot=BOOT, wall=WALL, fastest=FASTEST)
    for number, rate in enumerate(rates, start=1):
        sent += int(rate * 300 / 8)
        now = Counters(number * 300.0, sent, sent // 2)
        samples = step(samples, now, boot=BOOT, wall=WALL + number * 300, fastest=FASTEST)
    return samples


async def test_traffic_is_a_rate_and_a_share_of_the_line(tmp_path: Path) -> None:
    await look("lo", tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(100):
            sock.sendto(b"x" * 1000, ("127.0.0.1", 9))
    result = await look("lo", tmp_path, capacity_in_bits_per_second=1e6, capacity_out_bits_per_second=2e6)
    metrics = result.metrics
    assert result.error is None
    assert metrics["in_use_ratio"] == pytest.approx(metrics["in_bits_per_second"] / 1e6)
    assert metrics["out_use_ratio"] == pytest.approx(metrics["out_bits_per_second"] / 2e6)
    assert metrics["samples"] == 0
    assert "in_p95_ratio" not in metrics, "a week is not over"
    assert set(metrics) <= set(InterfaceUse.metrics)


async def test_an_interface_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    result = await look("eth99", tmp_path)
    assert result.error is not None
    assert result.error.startswith("there is no interface 'eth99' here; there are: ")
    assert "lo" in result.error


def test_the_default_is_the_interface_of_the_default_route(namespace: Namespace) -> None:
    none = namespace.nhip("check", "run", "interface_use")
    assert "there is no interface 'default' here; there are: " in none.stdout
    namespace.run("ip", "route", "add", "default", "via", "192.0.2.9")
    found = namespace.nhip("check", "run", "interface_use", "--set", "state_file=/nowhere/week", "--format", "json")
    assert '"in_bits_per_second"' in found.stdout
    assert "/nowhere/week cannot be written: No such file or directory: no week is kept" in found.stdout


async def test_a_damaged_file_begins_a_new_week_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "week").write_bytes(b"rubbish")
    result = await look("lo", tmp_path)
    assert result.notes == (f"{tmp_path}/week is damaged: the week begins anew",)
    assert result.metrics["samples"] == 0
    assert (await look("lo", tmp_path)).notes == ()


async def test_a_week_on_disk_is_judged(tmp_path: Path) -> None:
    now = counters("lo")
    assert now is not None
    kept = tuple(Sample(int(time.time()) - n, 190e6, 20e6) for n in range(FULL_WEEK, 0, -1))
    save(tmp_path / "week", Samples(boot_id(), now.at, now.bytes_in, now.bytes_out, kept))
    metrics = (await look("lo", tmp_path)).metrics
    assert metrics["samples"] == FULL_WEEK
    assert metrics["in_p95_ratio"] == pytest.approx(0.95)
    assert metrics["out_p95_ratio"] == pytest.approx(0.1)


def test_the_95th_percentile_is_that_of_the_last_2016_samples() -> None:
    samples = week([100e6] * 100 + [float(number) * 1e5 for number in range(1, FULL_WEEK + 1)])
    assert len(samples.kept) == FULL_WEEK
    found = samples.percentiles()
    assert found is not None
    assert found[0] == pytest.approx(1916e5, rel=1e-6), "rank 0.95 x 2,016 = 1915.2: the 1,916th"
    assert found[1] == pytest.approx(958e5, rel=1e-6)


def test_nothing_is_said_before_nearly_a_week_is_there() -> None:
    assert week([1e6] * (ENOUGH - 1)).percentiles() is None
    assert week([1e6] * ENOUGH).percentiles() is not None


def test_a_restart_of_the_agent_forgets_nothing(tmp_path: Path) -> None:
    samples = week([1e6, 2e6, 3e6])
    save(tmp_path / "week", samples)
    again = load(tmp_path / "week")
    assert again.kept == samples.kept
    more = step(again, Counters(1200.0, 10**9, 0), boot=BOOT, wall=WALL + 1200, fastest=FASTEST)
    assert len(more.kept) == 3, "the counter of bytes sent began anew: no sample of that"
    after = Counters(1200.0, again.bytes_in + 37_500_000, again.bytes_out)
    assert step(again, after, boot=BOOT, wall=WALL + 1200, fastest=FASTEST).kept[-1].rate_in == pytest.approx(1e6)


@pytest.mark.parametrize(
    ("boot", "at"), [(b"c" * 16, 1200.0), (BOOT, 900.0 + 451), (BOOT, 100.0)], ids=["reboot", "gap", "clock"]
)
def test_what_is_no_five_minutes_is_no_sample_and_counting_begins_again(boot: bytes, at: float) -> None:
    samples = week([1e6, 2e6, 3e6])
    after = step(samples, Counters(at, 10**9, 10**9), boot=boot, wall=WALL + 1200, fastest=FASTEST)
    assert after.kept == samples.kept
    assert (after.since, after.bytes_in) == (at, 10**9)


def test_five_minutes_that_are_not_over_change_nothing() -> None:
    samples = week([1e6])
    assert step(samples, Counters(310.0, 1, 1), boot=BOOT, wall=WALL + 310, fastest=FASTEST) is samples


def test_samples_older_than_a_week_are_dropped() -> None:
    samples = week([1e6] * 10)
    later = WALL + 8 * 86_400
    assert step(samples, Counters(1e6, 0, 0), boot=BOOT, wall=later, fastest=FASTEST).kept == ()


def test_a_counter_of_32_bits_goes_round_and_one_that_begins_anew_does_not() -> None:
    assert difference(100, 250, most=1000) == 150
    assert difference(2**32 - 50, 100, most=1000) == 150
    assert difference(4_000_000_000, 5, most=1000) is None, "the line cannot carry as much as that"
    assert difference(1_000_000_000, 5, most=1e15) is None, "it was nowhere near its end"
    assert difference(2**40, 5, most=1e15) is None, "it has more than 32 bits, and began anew"


@given(st.binary(max_size=300))
def test_any_other_file_is_refused_with_words(data: bytes) -> None:
    class Made:
        def read_bytes(self) -> bytes:
            return data

    with pytest.raises(ValueError, match=r"is damaged|holds something else"):
        load(Made())  # type: ignore[arg-type]


def test_an_address_belongs_to_an_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.77") is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"capacity_in_bits_per_second": 0}, "$.capacity_in_bits_per_second: expected `float` > 0"),
        ({"timeout_seconds": 0.1}, "$.timeout_seconds: expected `float` >= 2"),
        ({"capacity": 1}, "$.capacity: is unknown; there are: "),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("interface_use", parameters)
    assert message in str(caught.value)
