"""How long a report of availability takes: a month of 103 sites, in a store filled through its own roll-ups."""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from bench.common import ROOT, machine, table
from collector.availability_page import as_csv, as_html
from collector.availability_report import Availability
from collector.availability_times import span
from collector.catalogue import Catalogue, Series
from collector.columns import Columns
from collector.config import Config
from collector.config import Store as Settings
from collector.database import open_database
from collector.engine import Engine
from collector.from_inventory import with_inventory
from collector.incident import Happened, Incident, Place, Transition
from collector.record import Record
from collector.store import Store

MINUTE, DAY, NS = 60, 86_400, 1_000_000_000
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
START = int(datetime(2026, 10, 1, tzinfo=ZONE).timestamp())
DAYS = 31


class Month:
    """A month of the whole province: every line and three services, once a minute; cuts, a dead agent, an outage."""

    def __init__(self, folder: Path) -> None:
        """Fill a store in `folder`."""
        self.config = with_inventory(Config(), ROOT / "inventory" / "can-tho")
        self.catalogue = Catalogue()
        self.engine = Engine(self.config, self.catalogue)
        self.database = open_database(folder / "collector.db")
        self.clock = float(START)
        self.store = Store(folder / "metrics.duckdb", Settings(raw_days=1.1, minute_days=2), clock=lambda: self.clock)
        self.record = Record(self.database)
        self.record.sites(self.config.sites)
        self.sites = [site.site for site in self.config.sites if site.site != "data-centre"]
        self._signals()
        self._faults()

    def _signals(self) -> None:
        targets = [service.targets[0] for service in self.config.services]
        checks = {"one-stop": "http_get", "dns": "dns_query"}
        self.signals = []
        for site in self.sites:
            line = self.catalogue.series_id(Series(site, f"{site}-gateway", "stamp", "10.92.0.10:862"))
            mine = [self.catalogue.signal_id(line, "loss_ratio")]
            for service, target in zip(self.config.services, targets, strict=True):
                name = Series(site, f"{site}-gateway", checks.get(service.service, "ntp_offset"), target)
                mine.append(self.catalogue.signal_id(self.catalogue.series_id(name), "success"))
            self.signals.append(mine)

    def _faults(self) -> None:
        """Cut lines now and then, some for hours; one agent dies; one service fails for an hour everywhere."""
        chance = np.random.default_rng(7)
        minutes, width = DAYS * 1440, len(self.signals[0])
        self.bad = np.zeros((minutes, len(self.sites), width), dtype=bool)
        self.seen = np.ones((minutes, len(self.sites)), dtype=bool)
        found = []
        for number in range(len(self.sites)):
            for _ in range(chance.poisson(1.2)):
                at, long = int(chance.integers(0, minutes - 900)), int(chance.choice([4, 11, 35, 180, 700]))
                self.bad[at : at + long, number] = True
                found.append((at, long, Place("silence", self.sites[number], ""), "line", [self.sites[number]]))
        self.bad[20_000:20_065, :, 1] = True
        found.append((20_000, 65, Place("service", "", "one-stop"), "", self.sites))
        self.seen[30_000:36_000, 5] = False
        self._write(sorted(found, key=lambda each: each[0]))

    def _write(self, found: list[tuple[int, int, Place, str, list[str]]]) -> None:
        for count, (at, long, place, cause, sites) in enumerate(found, 1):
            began = (START + at * MINUTE) * NS
            incident = Incident(
                id=f"{count:06d}", place=place, began_at=began, opened_at=began + 4 * NS, cause=cause,
                resolved_at=began + long * MINUTE * NS, reached=sites, members=[place],
            )  # fmt: skip
            self.record.write([Transition(incident, [Happened(began, "began")], None, began)])

    def fill(self) -> None:
        """Store the month day by day, as a collector would, and let what is old go."""
        numbers = np.array(self.signals)
        loss = np.zeros(numbers.shape, dtype=bool)
        loss[:, 0] = True
        for day in range(DAYS):
            part = slice(day * 1440, day * 1440 + 1440)
            minutes = np.arange(part.start, part.stop)
            values = (self.bad[part] == loss).astype(float)
            seen = np.broadcast_to(self.seen[part][:, :, None], values.shape)
            at = np.broadcast_to(((START + minutes * MINUTE) * NS)[:, None, None], values.shape)
            signals = np.broadcast_to(numbers, values.shape)
            self.clock = START + (day + 1) * DAY + 90.0
            self.store.add([Columns(signals[seen], at[seen], values[seen], np.array([0]), 0)], day + 1)
            self.store.learn(self.catalogue.signals)
            self.store.roll_up()
            self.store.drop_old()
            print(f"\r  day {day + 1} of {DAYS}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as name:
        folder = Path(name)
        month = Month(folder)
        month.fill()
        asked = Availability(month.config, month.catalogue, month.engine, month.store, month.database)
        months = span("2026-10", "2026-10", ZONE, START + 40 * DAY)
        took = {}
        began = time.perf_counter()
        report = asked.report(months, site=None, service=None, now=int(month.clock) * NS)
        took["the report of all"] = time.perf_counter() - began
        began = time.perf_counter()
        page, rows = as_html(report, "vi"), as_csv(report)
        took["written as HTML and CSV"] = time.perf_counter() - began
        began = time.perf_counter()
        asked.report(months, site=month.sites[0], service=None, now=int(month.clock) * NS)
        took["the report of one site"] = time.perf_counter() - began
        month.store.close()
        size = (folder / "metrics.duckdb").stat().st_size / 1e6
        for file in sys.argv[1:2]:  # to look at
            Path(file).write_text(page, encoding="utf-8")
    found = [(what, f"{seconds:.2f} s") for what, seconds in took.items()]
    found.append(("lines of the table / bytes of the page", f"{rows.count(chr(10)) - 1:,} / {len(page):,}"))
    found.append(("the store's file, with verdicts of the month", f"{size:.0f} MB"))
    table(f"A month of {len(month.sites)} sites, a line and {len(month.signals[0]) - 1} services each",
          ["what", "takes"], found)  # fmt: skip
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
