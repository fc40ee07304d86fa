"""The health of the machine this runs on: processor, memory, disks, network cards, temperatures."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import msgspec
import psutil

from checks.check import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST_SAMPLE_SECONDS = 0.1
_IMAGES = {"squashfs", "iso9660", "udf", "erofs", "cramfs"}  # read-only: full from the day they were made
_VIRTUAL = ("lo", "veth*", "ifb*", "docker*", "br-*", "virbr*", "dummy*")

Patterns = tuple[str, ...]


class HostHealth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to leave out. Everything else that this machine has is measured; what it does not have is absent."""

    name: ClassVar[str] = "host_health"
    summary: ClassVar[str] = "processor, memory, disks, network cards and temperatures of the node itself"
    target_help: ClassVar[str] = "host: the node itself (the default)"
    default_target: ClassVar[str] = "host"
    metrics: ClassVar[Mapping[str, str]] = {
        "cpu_busy_ratio": "share of processor time used since the measurement before (at least 0.1 s), 0 to 1",
        "load_1m": "mean number of processes that run or wait, over 1 minute",
        "load_5m": "mean number of processes that run or wait, over 5 minutes",
        "load_15m": "mean number of processes that run or wait, over 15 minutes",
        "memory_used_ratio": "share of memory that programs cannot get, 0 to 1",
        "memory_available_bytes": "memory that programs can still get, bytes",
        "swap_used_ratio": "share of swap space in use, 0 to 1; absent without swap",
        "disk_used_ratio[mount]": "share of a disk's space in use, 0 to 1",
        "disk_free_bytes[mount]": "space of a disk that users can still fill, bytes",
        "inode_used_ratio[mount]": "share of a disk's inodes in use, 0 to 1; absent where there is no limit",
        "nic_up[nic]": "1 when a network card has a link, else 0",
        "nic_speed_bits_per_second[nic]": "speed of its link, bits per second; absent if unknown",
        "nic_receive_bytes_total[nic]": "bytes received since it came up",
        "nic_transmit_bytes_total[nic]": "bytes sent since it came up",
        "nic_receive_errors_total[nic]": "packets received with errors, count",
        "nic_transmit_errors_total[nic]": "packets that could not be sent for errors, count",
        "nic_receive_drops_total[nic]": "received packets dropped, count",
        "nic_transmit_drops_total[nic]": "packets dropped before they were sent, count",
        "temperature_celsius[sensor]": "temperature of each sensor, degrees Celsius",
        "uptime_seconds": "time since the machine started, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {}

    skip_mounts: Annotated[Patterns, msgspec.Meta(description="disks to leave out, by mount point, with * and ?")] = (
        "/snap/*",
        "/var/lib/docker/*",
    )
    skip_nics: Annotated[Patterns, msgspec.Meta(description="network cards to leave out, with * and ?")] = _VIRTUAL
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=300, description="deadline of the whole check")] = 5.0

    async def measure(self, target: str) -> dict[str, float]:
        """Measure this machine; `target` is `host` or empty. `CheckError` when its figures cannot be read."""
        if target not in ("", "host", "localhost"):
            raise CheckError(f"host_health measures the node it runs on: target must be host, not {target!r}")
        try:
            metrics = {"cpu_busy_ratio": await _cpu_busy_ratio()}
            metrics |= _load() | _memory() | _disks(self.skip_mounts) | _nics(self.skip_nics) | _temperatures()
        except (OSError, psutil.Error) as exc:
            raise CheckError(f"the figures of this machine cannot be read: {exc}") from None
        metrics["uptime_seconds"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        return metrics


class _Processor:
    """The sample of processor time that the next measurement compares with."""

    at = float("-inf")
    busy_seconds = 0.0
    total_seconds = 0.0


async def _cpu_busy_ratio() -> float:
    """Compare with the sample of the measurement before; take one 0.1 s earlier when there is none, or only just."""
    before = (_Processor.busy_seconds, _Processor.total_seconds)
    if not _SHORTEST_SAMPLE_SECONDS <= time.monotonic() - _Processor.at < float("inf"):
        before = _processor_seconds()
        await asyncio.sleep(_SHORTEST_SAMPLE_SECONDS)
    after = _processor_seconds()
    _Processor.at = time.monotonic()
    _Processor.busy_seconds, _Processor.total_seconds = after
    return busy_ratio(before, after)


def busy_ratio(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the share of time between two samples of (busy, total) seconds; 0 when none has passed."""
    total = after[1] - before[1]
    return min(1.0, max(0.0, (after[0] - before[0]) / total)) if total > 0 else 0.0


def _processor_seconds() -> tuple[float, float]:
    """Return busy and total seconds. Waiting for a disk is not busy; a guest's time is in user time already."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _load() -> dict[str, float]:
    one, five, fifteen = os.getloadavg()
    return {"load_1m": one, "load_5m": five, "load_15m": fifteen}


def _memory() -> dict[str, float]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    metrics = {
        "memory_used_ratio": 1 - memory.available / memory.total,
        "memory_available_bytes": float(memory.available),
    }
    if swap.total:
        metrics["swap_used_ratio"] = swap.used / swap.total
    return metrics


def _disks(skip: Patterns) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for mount in real_mounts(psutil.disk_partitions(all=False)):
        if _skipped(mount, skip):
            continue
        try:
            space = os.statvfs(mount)
        except OSError:  # taken out at this moment, or not ours to look into
            continue
        used = space.f_blocks - space.f_bfree
        if used + space.f_bavail > 0:
            metrics[f"disk_used_ratio[{mount}]"] = used / (used + space.f_bavail)
            metrics[f"disk_free_bytes[{mount}]"] = float(space.f_bavail * space.f_frsize)
        if space.f_files:
            metrics[f"inode_used_ratio[{mount}]"] = 1 - space.f_ffree / space.f_files
    return metrics


class Partition(Protocol):
    """What the system tells about a mounted disk, as psutil returns it."""

    @property
    def device(self) -> str: ...  # noqa: D102  (the class says it)
    @property
    def mountpoint(self) -> str: ...  # noqa: D102  (the class says it)
    @property
    def fstype(self) -> str: ...  # noqa: D102  (the class says it)


def real_mounts(partitions: Iterable[Partition]) -> list[str]:
    """Return one mount point for each disk, the shortest; and `/` always, also in a container that hides its disk."""
    shortest: dict[str, str] = {}
    for each in partitions:
        known = shortest.get(each.device)
        if each.fstype not in _IMAGES and (known is None or len(each.mountpoint) < len(known)):
            shortest[each.device] = each.mountpoint
    return sorted({"/", *shortest.values()})


def _nics(skip: Patterns) -> dict[str, float]:
    metrics: dict[str, float] = {}
    counters = psutil.net_io_counters(pernic=True, nowrap=False)
    for nic, state in psutil.net_if_stats().items():
        if _skipped(nic, skip):
            continue
        metrics[f"nic_up[{nic}]"] = float(state.isup)
        if state.speed > 0:
            metrics[f"nic_speed_bits_per_second[{nic}]"] = state.speed * 1e6
        if nic in counters:
            count = counters[nic]
            metrics[f"nic_receive_bytes_total[{nic}]"] = float(count.bytes_recv)
            metrics[f"nic_transmit_bytes_total[{nic}]"] = float(count.bytes_sent)
            metrics[f"nic_receive_errors_total[{nic}]"] = float(count.errin)
            metrics[f"nic_transmit_errors_total[{nic}]"] = float(count.errout)
            metrics[f"nic_receive_drops_total[{nic}]"] = float(count.dropin)
            metrics[f"nic_transmit_drops_total[{nic}]"] = float(count.dropout)
    return metrics


def _temperatures() -> dict[str, float]:
    metrics: dict[str, float] = {}
    for chip, sensors in psutil.sensors_temperatures().items():
        for index, sensor in enumerate(sensors, start=1):
            label = sensor.label or (str(index) if len(sensors) > 1 else "")
            name = f"{chip} {label}".strip()
            metrics.setdefault(f"temperature_celsius[{name}]", float(sensor.current))
    return metrics


def _skipped(name: str, patterns: Patterns) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
