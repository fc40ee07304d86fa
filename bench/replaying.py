"""How fast a recording is judged again, by two configurations at once: hours of 103 communes, a month projected."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import yaml

from bench.common import ROOT, machine, table
from collector.config import Config
from collector.from_inventory import with_inventory
from collector.recording_files import read_files
from collector.what_if import compare, differences, told_by

if TYPE_CHECKING:
    from typing import TextIO

HOURS, NS = 4, 1_000_000_000
START = 1_793_000_000
MONTH = 30 * 86_400
_FIELDS = {
    "stamp": "loss_ratio={l},packets_sent=20,rtt_min_seconds={a},rtt_median_seconds={b},rtt_p95_seconds={c},mos=4.3",
    "icmp_echo": "loss_ratio={l},packets_sent=5,rtt_min_seconds={a},rtt_median_seconds={b},rtt_p95_seconds={c}",
    "host_health": "cpu_busy_ratio={a},memory_used_ratio=0.5,load_per_core=0.1",
    "agent": "uptime_seconds=1,spool_bytes=0",
}
_OTHER = "success=1,total_seconds={c}"


def checks() -> list[tuple[str, str, float]]:
    """Return the checks of a commune with everything always on, and the agent's own heartbeat."""
    listed = yaml.safe_load((ROOT / "agents" / "commune.yml").read_text(encoding="utf-8"))["checks"]
    return [(each["check"], each["target"], each["interval_seconds"]) for each in listed] + [("agent", "", 10)]


def write(file: TextIO, sites: list[str], cut: set[str]) -> int:
    """Write the recording; some sites are without power for ten minutes. Return how many results it has."""
    chance, count = np.random.default_rng(3), 0
    for site in sites:
        for check, target, interval in checks():
            phase = chance.uniform(0, interval)
            at = np.arange(phase, HOURS * 3600, interval)
            trip = 0.008 * (1 + 0.03 * np.abs(chance.standard_t(3, len(at))))
            template = _FIELDS.get(check, _OTHER)
            key = f"{check},site={site},node={site}-gateway" + (f",target={target}" if target else "")
            for second, rtt in zip(at.tolist(), trip.tolist(), strict=True):
                lost = site in cut and 7200 <= second < 7800
                if lost:
                    continue
                values = template.format(l=0, a=f"{rtt:.6f}", b=f"{rtt * 1.05:.6f}", c=f"{rtt * 1.3:.6f}")
                file.write(f"{key} {values} {START * NS + int(second * NS)}\n")
                count += 1
    return count


def main() -> None:
    config = with_inventory(Config(), ROOT / "inventory" / "can-tho")
    sites = [site.site for site in config.sites if site.site != config.own.site]
    stricter = msgspec.structs.replace(config, silence_seconds=30)
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as name:
        path = Path(name) / "hours.lp"
        with path.open("w", encoding="ascii") as file:
            count = write(file, sites, set(sites[:3]))
        began = time.process_time()
        points, _ = read_files([str(path)])
        rows = [_row("reading, once", count, time.process_time() - began)]
        with contextlib.closing(points):
            for step in (5, 1):
                points.step = step * NS
                began = time.process_time()
                told_by(points, config)
                rows.append(_row(f"judging, {step} s at once", count, time.process_time() - began))
            points.step = 5 * NS
            found = differences(*compare(points, config, stricter), slack=points.step)
    title = f"{HOURS} hours of {len(sites)} communes: {count:,} results; {len(found)} differences found"
    table(title, ["what", "results a CPU-second", "a month of it takes"], rows)
    print(f"\n{machine()}")


def _row(what: str, count: int, seconds: float) -> tuple[str, str, str]:
    return what, f"{count / seconds:,.0f}", _month(seconds)


def _month(seconds: float) -> str:
    return f"{seconds * MONTH / (HOURS * 3600) / 60:.0f} min"


if __name__ == "__main__":
    main()
