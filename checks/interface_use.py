"""How busy an interface is, and whether the line behind it is wide enough: the 95th percentile of a week."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from checks.check import CheckError, Noted
from checks.interface_use_samples import SAMPLE_SECONDS, Samples, load, save, step
from checks.interfaces import boot_id, counters, default_interface, names

if TYPE_CHECKING:
    from checks.interfaces import Counters

_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = 3 * SAMPLE_SECONDS
_FOLDER = Path("/var/lib/nhip/agent")
_before: dict[str, Counters] = {}

Rate = Annotated[float, msgspec.Meta(gt=0)]


class InterfaceUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the line carries, and where the week's samples are kept."""

    name: ClassVar[str] = "interface_use"
    summary: ClassVar[str] = "how busy an interface is, and the 95th percentile of its week beside the line's capacity"
    target_help: ClassVar[str] = "an interface: eth0; default: the one of the default route"
    default_target: ClassVar[str] = "default"
    metrics: ClassVar[Mapping[str, str]] = {
        "in_bits_per_second": "traffic in since the measurement before (at least 1 s), bits per second",
        "out_bits_per_second": "traffic out since the measurement before (at least 1 s), bits per second",
        "in_use_ratio": "the same as a share of capacity_in_bits_per_second, 0 to 1",
        "out_use_ratio": "the same as a share of capacity_out_bits_per_second, 0 to 1",
        "in_p95_ratio": "95th percentile of a week of 5-minute samples in, share of capacity, 0 to 1; absent before",
        "out_p95_ratio": "95th percentile of a week of 5-minute samples out, share of capacity, 0 to 1; absent before",
        "samples": "5-minute samples of the last 7 days that are at hand, count; a full week has 2,016",
    }
    unreachable: ClassVar[Mapping[str, float]] = {}

    capacity_in_bits_per_second: Annotated[
        Rate, msgspec.Meta(description="what the line carries towards the site; 200 Mbit/s is an assumption")
    ] = 200e6
    capacity_out_bits_per_second: Annotated[Rate, msgspec.Meta(description="what the line carries from the site")] = (
        200e6
    )
    state_file: Annotated[
        str | None, msgspec.Meta(description="where samples are kept; none: below /var/lib/nhip/agent")
    ] = None
    timeout_seconds: Annotated[float, msgspec.Meta(ge=2, le=300, description="deadline of the whole check")] = 10.0

    async def measure(self, target: str) -> dict[str, float]:
        """Measure the interface `target`; `CheckError` when there is none of that name."""
        name = (default_interface() if target in ("", "default") else target) or "default"
        now = await asyncio.to_thread(counters, name)
        if now is None:
            raise CheckError(f"there is no interface {name!r} here; there are: {', '.join(names())}")
        before = _before.get(name)
        if before is None or not _SHORTEST_SECONDS <= now.at - before.at <= _LONGEST_SECONDS or before.is_ahead(now):
            before = now
            await asyncio.sleep(_SHORTEST_SECONDS)
            now = await asyncio.to_thread(counters, name) or now
        _before[name] = now
        taken = max(1e-3, now.at - before.at)
        metrics = self._use(
            max(0, now.bytes_in - before.bytes_in) * 8 / taken, max(0, now.bytes_out - before.bytes_out) * 8 / taken
        )
        samples, notes = await asyncio.to_thread(self._keep, name, now)
        metrics["samples"] = float(len(samples.kept))
        found = samples.percentiles()
        if found is not None:
            metrics["in_p95_ratio"] = found[0] / self.capacity_in_bits_per_second
            metrics["out_p95_ratio"] = found[1] / self.capacity_out_bits_per_second
        return Noted(metrics, notes)

    def _use(self, rate_in: float, rate_out: float) -> dict[str, float]:
        return {
            "in_bits_per_second": rate_in,
            "out_bits_per_second": rate_out,
            "in_use_ratio": rate_in / self.capacity_in_bits_per_second,
            "out_use_ratio": rate_out / self.capacity_out_bits_per_second,
        }

    def _keep(self, name: str, now: Counters) -> tuple[Samples, list[str]]:
        """Take a sample if one is due, and keep it on disk; say in words what is in the way."""
        path = Path(self.state_file) if self.state_file else _FOLDER / f"interface_use-{name.replace('/', '_')}"
        notes = []
        try:
            samples = load(path)
        except ValueError as exc:
            samples, notes = Samples(), [f"{path} {exc}: the week begins anew"]
        except OSError as exc:
            samples, notes = Samples(), [f"{path} cannot be read: {exc.strerror}: no week is kept"]
        fastest = 2 * max(self.capacity_in_bits_per_second, self.capacity_out_bits_per_second)
        after = step(samples, now, boot=boot_id(), wall=time.time(), fastest=fastest)
        if after != samples:
            try:
                save(path, after)
            except OSError as exc:
                notes.append(f"{path} cannot be written: {exc.strerror}: no week is kept")
        return after, notes
