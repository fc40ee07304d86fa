"""host_health on the machine that runs the tests, beside what the machine says in other ways."""

from __future__ import annotations

import math
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from checks import registry
from checks.host_health import HostHealth, busy_ratio, real_mounts
from checks.limits import base_metric
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from checks.result import Result


async def look(target: str = "host", **parameters: Any) -> Result:
    return await run(HostHealth(**parameters), target, site="s", node="n")


async def test_this_machine_has_a_processor_memory_and_a_root_disk() -> None:
    result = await look()
    assert result.error is None
    metrics = result.metrics
    for ratio in ("cpu_busy_ratio", "memory_used_ratio", "disk_used_ratio[/]"):
        assert 0 <= metrics[ratio] <= 1
    assert metrics["memory_available_bytes"] <= psutil.virtual_memory().total
    assert metrics["load_1m"] >= 0
    assert metrics["uptime_seconds"] > 0
    space = os.statvfs("/")
    assert metrics["disk_free_bytes[/]"] == pytest.approx(space.f_bavail * space.f_frsize, rel=0.2)
    assert all(math.isfinite(value) for value in metrics.values())


async def test_every_metric_is_one_that_the_check_declares() -> None:
    declared = {base_metric(name) for name in HostHealth.metrics}
    assert {base_metric(name) for name in (await look()).metrics} <= declared


async def test_each_network_card_has_its_state_and_counters_and_loopback_is_left_out() -> None:
    metrics = (await look(skip_nics=("lo",))).metrics
    for _, nic in socket.if_nameindex():
        if nic != "lo":
            assert metrics[f"nic_up[{nic}]"] in (0, 1)
            assert metrics[f"nic_receive_errors_total[{nic}]"] >= 0
    assert "nic_up[lo]" not in metrics
    assert all(value > 0 for name, value in metrics.items() if name.startswith("nic_speed")), "unknown is absent"
    assert "nic_up[lo]" in (await look(skip_nics=())).metrics


async def test_the_second_measurement_compares_with_the_first_and_does_not_wait() -> None:
    await look()
    busy = 0
    for number in range(10**6):  # long enough to be seen, and at least the shortest sample
        busy += number
    second = await look()
    assert 0 <= second.metrics["cpu_busy_ratio"] <= 1


async def test_left_out_disks_are_absent() -> None:
    assert not any(name.startswith("disk_") for name in (await look(skip_mounts=("*",))).metrics)


async def test_it_measures_no_other_machine() -> None:
    assert (await look("")).error is None
    other = await look("10.0.0.1")
    assert other.error == "host_health measures the node it runs on: target must be host, not '10.0.0.1'"


def test_time_spent_is_a_share_of_the_time_between_two_samples() -> None:
    assert busy_ratio((10, 100), (15, 110)) == 0.5
    assert busy_ratio((10, 100), (10, 100)) == 0
    assert busy_ratio((10, 100), (9, 110)) == 0, "a counter that stepped back is no time"


def test_a_disk_counts_once_and_images_never() -> None:
    partitions = [
        SimpleNamespace(device="/dev/sda1", mountpoint="/etc/hosts", fstype="ext4"),
        SimpleNamespace(device="/dev/sda1", mountpoint="/srv", fstype="ext4"),
        SimpleNamespace(device="/dev/loop0", mountpoint="/snap/core/1", fstype="squashfs"),
    ]
    assert real_mounts(partitions) == ["/", "/srv"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"skip_mounts": "/boot"}, "$.skip_mounts: expected `array`, got `str`"),
        ({"skip_nics": [1]}, "$.skip_nics[0]: expected `str`, got `int`"),
        ({"timeout_seconds": 0.1}, "$.timeout_seconds: expected `float` >= 0.5"),
        ({"disks": []}, "$.disks: is unknown; there are: skip_mounts, skip_nics, timeout_seconds"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("host_health", parameters)
    assert message in str(caught.value)
