"""Every fault of the lab on a running province: whether it is told once, with the right place and cause, and how soon.

    python -m bench.matrix [--lab NAME] [ROW …]

Needs root, and a bundle (make bundle). A lab that is up already is taken as it is, else one is booted and provisioned
by production's own playbooks. A row is right when the expected incident is there, people were called once (for a mere
warning: never), and no other incident stood beside it until everything was well again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.common import machine, table
from bench.province import Province, Told, provisioned, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEALING_SECONDS = 150
SETTLE_SECONDS = 10
AGENT = "/etc/nhip/agent.yml"


@dataclass(frozen=True)
class Row:
    """A fault, and what is to be told of it: the cause by its word, the site ("" for what many share)."""

    name: str
    make: Callable[[Province], object]
    cause: str
    site: str = ""
    place: str = ""
    """What stands in the place's name."""
    shows: str = ""
    """The metric that has to be among the evidence that is ill."""
    red: bool = True
    patience_seconds: float = 60
    before: Callable[[Province], object] = lambda _: None
    after: Callable[[Province], object] = lambda _: None


def asked(verb: str, **words: object) -> Callable[[Province], object]:
    """Return a fault that is one verb of the lab."""
    return lambda province: province.lab.ask(verb, **words)


def impaired(line: str, words: str, **changes: float) -> Callable[[Province], object]:
    """Return a fault of a line."""
    return asked("impair", line=line, changes=changes, words=words)


def on_battery(province: Province) -> None:
    """Take the mains from a site, and wait until the collector knows."""
    province.lab.ask("on_battery", site="31147")
    wait(lambda: any(_shows(each, "on_battery") for each in province.open()), 60)


def without_power(province: Province) -> None:
    """Let the battery of that site's UPS be empty."""
    for host in ("31147-counter-1", "31147-gateway"):
        province.lab.ask("power_off", host=host)


def capacity_every(seconds: int, gateway: str = "31147-gateway") -> Callable[[Province], object]:
    """Return a step that makes the nights of a site's capacity test so long."""
    edit = f's/("check": "capacity".*"interval_seconds": )[0-9]+/\\1{seconds}/'

    def step(province: Province) -> None:
        province.lab.run(gateway, "sed", "-Ei", edit, AGENT)
        province.lab.run(gateway, "systemctl", "reload", "nhip-agent")

    return step


REFLECTOR = "10.92.0.10"
ROWS = (
    Row("line cut", asked("cut", line="31120"), "line", "31120"),
    Row("plug pulled", asked("cut", line="31150", unplug=True), "line", "31150"),
    Row("power off, after minutes on the UPS", without_power, "power", "31147", before=on_battery),
    Row("power off at once", asked("power_off", host="31120-gateway"), "line", "31120"),
    Row("agent killed", asked("kill_service", host="31150-gateway", unit="nhip-agent"), "agent", "31150"),
    Row("point of presence lost", asked("cut", line="pop_cai_khe"), "upstream", place="pop_cai_khe"),
    Row("collector's own uplink cut", asked("cut", line="uplink"), "collector", "data-centre"),
    Row("one of two lines cut", asked("cut", line="31135-2"), "redundancy", "31135", red=False),
    Row("service stopped", asked("stop_service", host="one-stop", unit="web"), "service", place="one-stop",
        patience_seconds=120),
    Row("5 % loss", impaired("31120", "5 % lost", loss_ratio=0.05), "path", "31120", REFLECTOR, "loss_ratio", red=False,
        patience_seconds=300),
    Row("DNS wrong", asked("wrong_dns"), "service", place="dns", patience_seconds=90),
    Row("+100 ms", impaired("31150", "100 ms slower", delay_seconds=0.05), "path", "31150", REFLECTOR,
        "rtt_median_seconds", red=False, patience_seconds=120),
    Row("DNS silent", asked("stop_service", host="one-stop", unit="dns"), "service", place="dns", patience_seconds=90),
    Row("rate limited to a tenth", impaired("31147", "limited to 5mbit", rate_bits_per_second=5e6), "path", "31147",
        REFLECTOR, "capacity_down_ratio", red=False, patience_seconds=420, before=capacity_every(60),
        after=capacity_every(86_400)),
    Row("certificate expired", asked("expire_certificate"), "service", place="one-stop",
        shows="certificate_expiry_days", patience_seconds=150),
    Row("clock +30 s", impaired("31147", "clocks 30 s ahead", clock_shift_seconds=-30), "clock", "31147",
        shows="offset_abs_seconds", patience_seconds=240),
    Row("MTU black hole", impaired("31150", "over 1400 bytes vanish", mtu=1400), "path", "31150", REFLECTOR,
        "black_hole", patience_seconds=240),
    Row("rogue DHCP", asked("rogue_dhcp", site="31120"), "node", "31120", shows="rogue_dhcp_servers",
        patience_seconds=150),
    Row("UPS on battery", asked("on_battery", site="31135"), "node", "31135", shows="on_battery", red=False),
    Row("disk full", asked("fill_disk", host="31150-gateway"), "node", "31150", shows="disk_used_ratio",
        patience_seconds=150),
)  # fmt: skip


def main() -> int:
    """Try every row, or those named, and print the table; return how many are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", default="bench", help="which lab (default %(default)s); booted where it is not up")
    parser.add_argument("rows", nargs="*", help="parts of names; all rows by default")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.rows or any(part in row.name for part in options.rows)]
    if not rows:
        parser.error(f"no row is called so; there are: {', '.join(row.name for row in ROWS)}")
    with provisioned(options.lab) as province:
        if left := province.settle(HEALING_SECONDS):
            print(f"before anything was done, these stay open: {_named(left)}", file=sys.stderr)
        shown = []
        for row in rows:
            shown.append(tried(province, row))
            print(" | ".join(str(cell) for cell in shown[-1]), file=sys.stderr, flush=True)
    table("What each fault is told as", ("fault", "right", "told after", "calls", "what is said", "beside it"), shown)
    print(f"\n{machine()}")
    return sum(cells[1] != "yes" for cells in shown)


def tried(province: Province, row: Row) -> tuple[object, ...]:
    """Make a fault, wait for what is told, heal it, wait for its end; return the row of the table."""
    row.before(province)
    before = {each["id"] for each in province.open()}
    made_at = time.time()
    row.make(province)
    wait(lambda: [one for one in province.told(made_at) if meets(row, one)], row.patience_seconds)
    time.sleep(SETTLE_SECONDS)
    told = province.told(made_at)
    province.lab.ask("heal", place="all")
    row.after(province)
    left = province.settle(HEALING_SECONDS)
    later = [one for one in province.told(made_at) if one.incident["id"] not in {each.incident["id"] for each in told}]
    return judged(row, made_at, [*told, *later], left, before)


def meets(row: Row, told: Told) -> bool:
    """Tell whether an incident is what a row expects."""
    incident = told.incident
    cause = incident["cause"]
    return (
        cause["kind"] == row.cause
        and incident["site"] == row.site
        and row.place in cause["place"]
        and (not row.shows or _shows(incident, row.shows))
        and (bool(told.rings) or not row.red)
    )


def judged(
    row: Row, made_at: float, told: Sequence[Told], left: Sequence[dict[str, Any]], before: set[str]
) -> tuple[object, ...]:
    """Return the row of the table for what was told."""
    mine = next((one for one in told if meets(row, one)), None)
    others = [one.incident for one in told if one is not mine and one.incident["id"] not in before]
    calls = sum(len(one.rings) for one in told)
    right = mine is not None and calls == int(row.red) and not others and not left
    beside = [_named(others)] if others else []
    beside += [f"did not end: {_named(left)}"] if left else []
    if mine is None:
        return row.name, "NO", "–", calls, "–", "; ".join(beside)
    after = min(mine.rings if row.red else mine.began or mine.rings) - made_at
    return (row.name, "yes" if right else "NO", f"{after:.1f} s", calls, _said(mine.incident), "; ".join(beside))


def _said(incident: dict[str, Any]) -> str:
    evidence = next((each for each in incident["evidence"] if each["level"] in ("red", "yellow")), None)
    seen = f" ({evidence['text'].get('en', evidence['metric'])})" if evidence and evidence.get("text") else ""
    return f"{incident['site_name']}: {incident['cause']['text']['en']}{seen}"


def _named(incidents: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{each['severity']} {_said(each)}" for each in incidents)


def _shows(incident: dict[str, Any], metric: str) -> bool:
    return any(item["metric"].partition("[")[0] == metric for item in incident["evidence"])


if __name__ == "__main__":
    sys.exit(min(1, main()))
