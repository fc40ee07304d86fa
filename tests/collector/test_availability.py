"""How much of the time something was up: every minute counts once, and what nobody measured is not down."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from collector.availability import Account, Period, Seen, account, all_of, any_of, eaten, held, silenced, within
from collector.availability_page import as_csv, as_html, as_text, sign
from collector.availability_report import Availability
from collector.availability_times import span
from collector.catalogue import Catalogue
from collector.columns import Decoder
from collector.config import Config, Service, Site, Upstream
from collector.config import Store as Settings
from collector.database import open_database
from collector.engine import Engine
from collector.incident import Happened, Incident, Place, Transition
from collector.record import Record
from collector.store import Store
from collector.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.availability_report import Report, Row

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NOON = int(datetime(2026, 11, 10, 12, tzinfo=ZONE).timestamp())
NS = 1_000_000_000


def seen(text: str) -> Seen:
    """Return minutes from signs: + up, - down, anything else not measured."""
    return Seen(np.array([c == "+" for c in text]), np.array([c == "-" for c in text]))


def drawn(what: Seen) -> str:
    return "".join("+" if up else "-" if down else "." for up, down in zip(what.up, what.down, strict=True))


MINUTES = st.text("+-.", min_size=1, max_size=200)
SPANS = st.lists(st.tuples(st.integers(-20, 220), st.integers(-20, 220)).map(lambda p: Period(*sorted(p))), max_size=5)


@given(MINUTES, SPANS, SPANS, st.integers(0, 200), st.integers(0, 200))
def test_up_and_down_and_unknown_and_planned_are_the_period(
    text: str, windows: list[Period], cuts: list[Period], first: int, last: int
) -> None:
    what, planned = silenced(held(seen(text)), cuts), within(windows, len(text))
    period = Period(min(first, last, len(text)), min(max(first, last), len(text)))
    found = account(what, planned, period)
    assert found.period == period.last - period.first
    assert min(found.up, found.down, found.unknown, found.planned) >= 0
    assert found.planned == int(planned[period.first : period.last].sum())
    assert found.longest <= found.down
    assert bool(found.outages) == bool(found.down)
    assert all(eaten(what, planned, period, span) <= found.down for span in cuts)
    assert eaten(what, planned, period, period) == found.down


@given(MINUTES, st.integers(0, 200))
def test_parts_of_a_period_add_up_to_it(text: str, cut: int) -> None:
    what, planned, cut = seen(text), within([Period(3, 9)], len(text)), min(cut, len(text))
    whole = account(what, planned, Period(0, len(text)))
    parts = [account(what, planned, Period(0, cut)), account(what, planned, Period(cut, len(text)))]
    for name in ("up", "down", "unknown", "planned"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)


@given(MINUTES)
def test_a_verdict_that_holds_changes_no_minute_that_was_measured(text: str) -> None:
    before, after = seen(text), held(seen(text))
    assert not (after.up & after.down).any()
    assert (after.up[before.measured] == before.up[before.measured]).all()
    assert (after.down[before.measured] == before.down[before.measured]).all()


@given(st.lists(arrays.arrays(np.bool_, 20), min_size=2, max_size=8).filter(lambda each: len(each) % 2 == 0))
def test_joined_views_say_no_two_things_of_one_minute(words: list[np.ndarray]) -> None:
    parts = [Seen(up, down & ~up) for up, down in zip(words[::2], words[1::2], strict=True)]
    for joined in (all_of(parts), any_of(parts)):
        assert not (joined.up & joined.down).any()
        assert (joined.measured == np.logical_or.reduce([part.measured for part in parts])).all()


def test_a_check_every_five_minutes_has_no_gaps_and_one_that_stops_is_unknown_soon() -> None:
    assert drawn(held(seen("+....+....-....+....+.............."))) == "++++++++++-----++++++++++.........."


def test_a_check_every_minute_that_skips_one_is_not_unknown_but_a_dead_agent_is() -> None:
    minutes = "+++++.++++++++++++++++++++..........+++++"
    assert drawn(held(seen(minutes))) == minutes.replace(".", "+", 1)


def test_one_node_needs_all_of_its_checks_and_of_several_nodes_the_best_one_is_right() -> None:
    assert drawn(all_of([seen("+-+.."), seen("++-+.")])) == "+--+."
    assert drawn(any_of([seen("+-+.."), seen("+--+.")])) == "+-++."


def test_a_cut_counts_only_where_nobody_measured() -> None:
    assert drawn(silenced(seen("++..++.."), [Period(1, 6)])) == "++--++.."


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (Account(99, 1, 0, 0), "good"),
        (Account(98, 2, 0, 0), "bad"),
        (Account(50, 0, 50, 0), "thin"),
        (Account(0, 0, 100, 0), "none"),
        (Account(0, 0, 0, 100), "none"),
    ],
)
def test_a_figure_is_marked_by_the_goal_and_by_how_much_was_seen(told: Account, wanted: str) -> None:
    assert sign(told, 0.99) == wanted


# Months.


def test_months_are_those_of_vietnam_and_end_now() -> None:
    now = datetime(2026, 11, 3, 5, 0, 30, tzinfo=ZONE).timestamp()
    october, november = span("2026-10", None, ZONE, now)
    assert datetime.fromtimestamp(october.start, UTC) == datetime(2026, 9, 30, 17, tzinfo=UTC)
    assert october.end == november.start
    assert (october.name, november.name) == ("2026-10", "2026-11")
    assert november.end == int(now) - 30


def test_a_day_is_meant_to_its_end() -> None:
    (part,) = span("2026-10-05", "2026-10-06", ZONE, NOON)
    assert (part.name, part.end - part.start) == ("2026-10", 2 * 86_400)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-13", None, "from: '2026-13' is no time: write a month (2026-11), a day (2026-11-24)"),
        ("2026-11", "yesterday", "to: 'yesterday' is no time"),
        ("2026-11-01T00:00:00", None, "RFC 3339 with its zone"),
        ("2026-10", "2026-09", "from (2026-10) must lie before to (2026-09)"),
        ("2027-01", "2027-02", "from (2027-01) lies in the future: nothing has been measured yet"),
        ("1990-01", None, "is more than 800 days: ask for less"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused_in_words(start: str, end: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=r"from|to") as refused:
        span(start, end, ZONE, NOON)
    assert words in str(refused.value)


# A collector's own store, without the collector.


class Office:
    """A store, a judge and a database, and a clock: noon of a day in November."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.now = float(NOON)
        self.config, self.catalogue = config, Catalogue()
        self.store = Store(folder / "metrics.duckdb", Settings(), clock=lambda: self.now)
        self.engine, self.decoder = Engine(config, self.catalogue), Decoder(self.catalogue)
        self.database = open_database(folder / "collector.db")
        self.record = Record(self.database)
        self.position = 0

    def measure(self, series: str, signs: str, *, metric: str = "loss_ratio", first: int = 0, every: int = 20) -> None:
        """Store what was measured from minute `first` after noon on: + well, - not, anything else nothing."""
        lines = []
        for minute, sign_ in enumerate(signs, first):
            value = {"+": 0, "-": 1}.get(sign_) if metric == "loss_ratio" else {"+": 1, "-": 0}.get(sign_)
            for second in range(0, 60, every) if value is not None else ():
                lines.append(f"{series} {metric}={value}.0 {(NOON + minute * 60 + second) * NS}")
        columns, errors = self.decoder.decode("\n".join(lines).encode(), arrived_at=0)
        assert errors == []
        self.position += 1
        self.store.add([columns], self.position)

    def pass_hours(self, hours: float) -> None:
        self.now = NOON + hours * 3600
        self.store.learn(self.catalogue.signals)
        self.store.roll_up()

    def incident(self, place: Place, cause: str, first: int, last: int | None, sites: list[str]) -> None:
        incident = Incident(
            id=f"{self.position:06d}{first:03d}", place=place, cause=cause, reached=sites, members=[],
            began_at=(NOON + first * 60) * NS, opened_at=(NOON + first * 60) * NS,
            resolved_at=None if last is None else (NOON + last * 60) * NS,
        )  # fmt: skip
        self.record.write([Transition(incident, [Happened(incident.began_at, "began")])])

    def report(self, minutes: int, **asked: str) -> Report:
        end = datetime.fromtimestamp(NOON, ZONE) + timedelta(minutes=minutes)
        start = datetime.fromtimestamp(NOON, ZONE)
        months = span(start.isoformat(), end.isoformat(), ZONE, self.now)
        asking = Availability(self.config, self.catalogue, self.engine, self.store, self.database)
        wanted = {"site": None, "service": None, **asked}
        return asking.report(months, now=int(self.now) * NS, **wanted)


CONFIG = Config(
    sites=[
        Site(site="data-centre", name="Trung tâm dữ liệu"),
        Site(site="31117", name="Phường Ninh Kiều", upstream="pop", addresses=["10.92.240.6"]),
        Site(site="31120", name="Phường Cái Khế", upstream="pop", addresses=["10.92.240.10"]),
    ],
    upstreams=[Upstream(upstream="pop", name="Điểm kết nối")],
    services=[Service(service="one-stop", name="Hệ thống một cửa", targets=["http://10.92.0.20/"])],
    maintenance=[
        Window(
            window="fibre", sites=["31120"], reason="thay cáp",
            start=datetime(2026, 11, 10, 12, 30, tzinfo=ZONE), end=datetime(2026, 11, 10, 12, 40, tzinfo=ZONE),
        )
    ],
)  # fmt: skip
STAMP = "stamp,site={},node=gw,target=10.92.0.10:862"
WEB = "http_get,site={},node={},target=http://10.92.0.20/"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path, CONFIG)
    yield opened
    opened.store.close()
    opened.database.dispose()


def row(report: Report, site: str, service: str = "") -> Row:
    (found,) = [each for each in report.rows if (each.site, each.service) == (site, service)]
    return found


def counted(told: Account) -> tuple[int, int, int, int]:
    return told.up, told.down, told.unknown, told.planned


def test_a_cut_line_is_down_and_its_incident_ate_it(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 60 + "-" * 25 + "+" * 35)
    office.incident(Place("silence", "31117", ""), "line", 60, 85, ["31117"])
    office.pass_hours(3)
    told = row(office.report(120), "31117")
    assert counted(told.account) == (95, 25, 0, 0)
    assert [bite.minutes for bite in told.bites] == [25]
    assert (told.unexplained, told.account.outages, told.account.longest) == (0, 1, 25)


def test_a_dead_agent_is_not_a_line_that_is_down(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 60)
    office.incident(Place("silence", "31117", ""), "agent", 60, None, ["31117"])
    office.pass_hours(3)
    told = row(office.report(120), "31117")
    assert counted(told.account) == (60, 0, 60, 0)
    assert told.account.availability == 1
    assert told.account.coverage == pytest.approx(60 / 120)


def test_the_data_centre_sees_a_line_whose_agent_is_dead(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 60)
    sweep = "icmp_sweep,site=data-centre,node=data-centre,target=gateways"
    office.measure(sweep, "+" * 100 + "-" * 20, metric="loss_ratio")  # of all of them: of no line
    lines = [f"{sweep} loss_ratio[10.92.240.6]={0 if m < 100 else 1}.0 {(NOON + m * 60) * NS}" for m in range(120)]
    columns, errors = office.decoder.decode("\n".join(lines).encode(), arrived_at=0)
    assert errors == []
    office.store.add([columns], 99)
    office.pass_hours(3)
    assert counted(row(office.report(120), "31117").account) == (100, 20, 0, 0)


def test_a_site_without_power_is_down_until_its_spool_says_otherwise(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 60)
    office.incident(Place("upstream", "", "pop"), "power", 60, 100, ["31117"])
    office.measure(STAMP.format("31117"), "+" * 20, first=100)
    office.pass_hours(3)
    before = row(office.report(120), "31117")
    assert counted(before.account) == (80, 40, 0, 0)
    office.measure(STAMP.format("31117"), "-" * 10 + "+" * 30, first=60)
    office.pass_hours(4)
    after = row(office.report(120), "31117")
    assert counted(after.account) == (110, 10, 0, 0)


def test_planned_work_counts_as_nothing_else(office: Office) -> None:
    office.measure(STAMP.format("31120"), "+" * 25 + "-" * 20 + "+" * 15)
    office.pass_hours(2)
    report = office.report(60)
    assert counted(row(report, "31120").account) == (40, 10, 0, 10)
    assert row(report, "31120").unexplained == 10
    assert [(window.window, end - start) for window, start, end in report.planned] == [("fibre", 600 * NS)]


def test_a_service_is_up_for_a_site_while_any_of_its_nodes_reaches_it_and_for_all_while_any_site_does(
    office: Office,
) -> None:
    office.measure(WEB.format("31117", "counter-1"), "+" * 30 + "-" * 30, metric="success")
    office.measure(WEB.format("31117", "counter-2"), "+" * 40 + "-" * 20, metric="success")
    office.measure(WEB.format("31120", "counter-1"), "+" * 50 + "-" * 10, metric="success")
    office.pass_hours(2)
    report = office.report(60)
    assert counted(row(report, "31117", "one-stop").account) == (40, 20, 0, 0)
    assert counted(row(report, "31120", "one-stop").account) == (40, 10, 0, 10)
    assert counted(row(report, "", "one-stop").account) == (50, 10, 0, 0)


def test_the_hour_that_is_not_over_counts_too(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 70 + "-" * 30)
    office.pass_hours(100 / 60 + 0.02)
    assert counted(row(office.report(100), "31117").account) == (70, 30, 0, 0)


def test_a_site_that_nobody_measures_is_shown_and_has_no_figure(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 60)
    office.pass_hours(2)
    told = row(office.report(60), "31120")
    assert (told.account.availability, told.account.unknown, told.account.planned) == (None, 50, 10)
    assert "– không đo" in as_text(office.report(60, site="31120"), "vi")


def test_the_table_reads_back_and_the_page_says_everything_in_words(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 40 + "-" * 20)
    office.measure(WEB.format("31117", "gw"), "+" * 40 + "-" * 20, metric="success")
    office.incident(Place("silence", "31117", ""), "line", 40, None, ["31117"])
    office.pass_hours(2)
    report = office.report(60)
    table = as_csv(report)
    assert table.count("\r\n") == len(report.rows) + 1
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    (line,) = [each for each in rows if each["site"] == "31117" and each["thing"] == "line"]
    assert (line["availability_percent"], line["down_minutes"], line["site_name"]) == (
        "66.666",
        "20",
        "Phường Ninh Kiều",
    )
    (past,) = report.past
    assert line["incidents"] == f"{past}:20"
    assert [each["availability_percent"] for each in rows if each["site"] == "31120"] == [""]
    page = as_html(report, "vi")
    for words in ("✖ 66,66 %", "gián đoạn 20 phút", "Hệ thống một cửa", "thay cáp", past, "chưa kết thúc"):
        assert words in page
    assert "66.66 %" in as_html(report, "en")


def test_a_name_from_outside_is_neither_markup_nor_a_formula(tmp_path: Path) -> None:
    evil = Config(sites=[Site(site="1", name="=cmd()<script>", upstream="p")])
    office = Office(tmp_path, evil)
    try:
        office.measure(STAMP.format("1"), "-" * 60)
        office.pass_hours(2)
        report = office.report(60)
        assert ",'=cmd()<script>," in as_csv(report)
        assert "<script>" not in as_html(report, "vi")
    finally:
        office.store.close()
        office.database.dispose()


def test_a_hundred_per_cent_is_said_only_of_all_of_it(office: Office) -> None:
    office.measure(STAMP.format("31117"), "+" * 59 + "-")
    office.pass_hours(2)
    text = as_text(office.report(60), "en")
    assert "98.33 %" in text
    assert "100 %" in text  # of the time was seen
