"""Acceptance: what is planned for a site, how results are judged, and what people and programs read of it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.batch import read_plan
from collector.loading import load
from inventory.acceptance_command import main
from inventory.profile import SHIPPED, read_profile

REPOSITORY = Path(__file__).parents[2]
LAB = REPOSITORY / "inventory/lab"
NOON = 1_795_500_000_000_000_000
GOOD: dict[str, tuple[str, dict[str, float]]] = {
    "reach": ("icmp_echo", {"loss_ratio": 0.0, "rtt_median_seconds": 0.008}),
    "line": (
        "stamp",
        {
            "loss_ratio": 0.0,
            "rtt_median_seconds": 0.0081,
            "jitter_forward_seconds": 0.001,
            "jitter_backward_seconds": 0.002,
        },
    ),
    "capacity": (
        "capacity",
        {"capacity_up_bits_per_second": 1.9e8, "capacity_up_ratio": 0.95, "capacity_down_ratio": 0.96},
    ),
    "dns": ("dns_query", {"success": 1.0, "response_seconds": 0.01}),
    "time": ("ntp_offset", {"success": 1.0, "offset_abs_seconds": 0.0004}),
    "one_stop": ("http_get", {"success": 1.0, "total_seconds": 0.05}),
    "streaming": ("nagios_plugin", {"state": 0.0}),
    "firewall": ("open_ports", {"ports_unexpected": 0.0, "ports_missing": 0.0}),
    "reboot": ("", {"returned_seconds": 42.0}),
}


@dataclass
class Run:
    """An inventory, what was measured, and where the report goes."""

    folder: Path
    inventory: Path
    results: list[dict[str, Any]] = field(default_factory=list)

    def measured(self, site: str, changes: dict[str, Any] | None = None) -> None:
        """Add a site's good results; `changes` replaces some, by measurement: metrics, whole fields, or None."""
        for name, (check, metrics) in GOOD.items():
            change = (changes or {}).get(name, {})
            if change is not None:
                result = {"id": name, "site": site, "check": check, "measured_at": NOON, "metrics": metrics}
                self.results.append({**result, "notes": [], "reason": None, "error": None, **change})

    def report(self, *sites: str, more: tuple[str, ...] = ()) -> int:
        """Write the results as a playbook would, judge them, and return the exit code."""
        (self.folder / "measured").mkdir(exist_ok=True)
        lines = "".join(json.dumps(result) + "\n" for result in self.results)
        (self.folder / "measured/all.jsonl").write_text(lines, encoding="utf-8")
        where = ("--measured", str(self.folder / "measured"), "--out", str(self.folder / "report"))
        return main(["report", str(self.inventory), *sites, *where, *more])

    def verdict(self, site: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "report/verdicts.json").read_text(encoding="utf-8"))[site]
        return told

    def colours(self, site: str) -> dict[str, str]:
        return {name: each["verdict"] for name, each in self.verdict(site)["findings"].items()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, Path(shutil.copytree(LAB, tmp_path / "lab")))


def test_the_plan_of_every_site_can_be_run_as_it_is(run: Run) -> None:
    assert main(["plan", str(run.inventory), "--out", str(run.folder / "plans")]) == 0
    names = {path.name for path in (run.folder / "plans").iterdir()}
    assert names == {
        "31120.site.yml",
        "31135.site.yml",
        "31147.site.yml",
        "31150.site.yml",
        "data-centre.yml",
    }
    planned = {name: read_plan(str(run.folder / "plans" / name)) for name in names}
    assert [one.entry.id for one in planned["31120.site.yml"]] == ["line", "dns", "time", "one_stop", "streaming"]
    by_site = {(one.entry.site, one.entry.id): one.entry.target for one in planned["data-centre.yml"]}
    assert by_site["31120", "reach"] == "10.92.240.6"
    assert by_site["31135", "second_reach"] == "10.92.248.10"
    assert ("31120", "second_reach") not in by_site, "a site with one line has no second one to be reached by"


def test_a_plan_for_some_sites_names_no_others(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(run.inventory), "31147"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["site"]) == {"31147"}
    assert {entry["site"] for entry in told["data_centre"]} == {"31147"}


def test_a_site_where_all_is_well_is_accepted_and_becomes_the_baseline(run: Run, tmp_path: Path) -> None:
    run.measured("31120")
    assert run.report("31120", more=("--baseline",)) == 0
    assert run.verdict("31120")["accepted"] is True
    assert (run.folder / "report/accepted/31120.json").exists()
    colours = run.colours("31120")
    assert colours.pop("second_link") == "left_out"
    assert set(colours.values()) == {"green"}
    path = tmp_path / "collector.yml"
    path.write_text(f"inventory: {run.inventory}\n", encoding="utf-8")
    site = next(site for site in load(path).sites if site.site == "31120")
    assert site.baseline["stamp"]["rtt_median_seconds"] == 0.0081
    assert site.baseline["capacity"]["capacity_up_bits_per_second"] == 1.9e8


@pytest.mark.parametrize(
    ("changes", "criterion", "colour", "why"),
    [
        (
            {"line": {"metrics": {**GOOD["line"][1], "loss_ratio": 0.4}}},
            "loss",
            "red",
            "Packet loss: 40 % (limit < 1 %)",
        ),
        (
            {"one_stop": {"metrics": {"success": 0.0}, "reason": "status 502"}},
            "one_stop",
            "red",
            "One-stop page: – (limit OK), status 502",
        ),
        (
            {"firewall": {"metrics": {"ports_unexpected": 1.0, "ports_missing": 0.0}, "notes": ["tcp/23 answers"]}},
            "closed",
            "red",
            "Ports open unexpectedly: 1 (limit < 1), tcp/23 answers",
        ),
        (
            {"streaming": {"metrics": {"state": 2.0}, "reason": "not sending: 12 batches wait"}},
            "streaming",
            "red",
            "Agent streams: CRITICAL (limit OK), not sending: 12 batches wait",
        ),
        ({"dns": None}, "dns", "unmeasured", "DNS answers: not measured"),
        (
            {"time": {"metrics": {}, "error": "no permission"}},
            "time",
            "unmeasured",
            "Clock offset: not measured, no permission",
        ),
    ],
)
def test_what_stands_in_the_way_is_said_with_figure_and_limit(
    run: Run, changes: dict[str, Any], criterion: str, colour: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.measured("31120", changes)
    assert run.report("31120", more=("--baseline",)) == 2
    assert run.colours("31120")[criterion] == colour
    assert why in run.verdict("31120")["why"]
    assert f"31120  Phường Cái Khế: not accepted: {run.verdict('31120')['why']}" in capsys.readouterr().out
    assert not (run.folder / "report/accepted/31120.json").exists()
    assert "31120" not in yaml.safe_load((run.inventory / "baseline.yml").read_text(encoding="utf-8"))["sites"]


def test_yellow_and_what_is_not_required_do_not_refuse(run: Run) -> None:
    run.measured("31120", {"time": {"metrics": {"success": 1.0, "offset_abs_seconds": 0.3}}, "capacity": None})
    assert run.report("31120") == 0
    colours = run.colours("31120")
    assert (colours["time"], colours["bandwidth_up"]) == ("yellow", "unmeasured")


def test_a_silent_site_is_not_measured_and_not_green(run: Run) -> None:
    run.measured("31120")
    assert run.report("31120", "31147") == 2
    assert set(run.colours("31147").values()) == {"unmeasured", "left_out"}
    assert run.verdict("31147")["why"] == "nothing was measured"
    assert "không đo được gì" in (run.folder / "report/report.html").read_text(encoding="utf-8")


def test_a_site_may_have_limits_of_its_own(run: Run) -> None:
    path = run.inventory / "sites/pop_cai_khe.yml"
    own = "site_limits: [{check: stamp, metric: rtt_median_seconds, red: {enter: 0.005, leave: 0.004}}]"
    text = path.read_text(encoding="utf-8").replace(
        "site_lan: 10.92.1.0/24", f"site_lan: 10.92.1.0/24\n                {own}"
    )
    path.write_text(text, encoding="utf-8")
    for site in ("31120", "31147"):
        run.measured(site)
    assert run.report("31120", "31147") == 2
    assert (run.colours("31120")["latency"], run.colours("31147")["latency"]) == ("red", "green")


def test_the_newest_of_several_results_counts(run: Run) -> None:
    run.measured("31120")
    late = {**run.results[0], "measured_at": NOON + 1, "metrics": {"loss_ratio": 1.0}}
    run.results.insert(0, late)
    assert run.report("31120") == 2
    assert run.colours("31120")["link"] == "red"


def test_a_site_that_fails_later_loses_its_acceptance_but_keeps_its_baseline(run: Run) -> None:
    run.measured("31120")
    assert run.report("31120", more=("--baseline",)) == 0
    before = (run.inventory / "baseline.yml").read_text(encoding="utf-8")
    run.results.clear()
    run.measured("31120", {"reach": {"metrics": {"loss_ratio": 1.0}}})
    assert run.report("31120", more=("--baseline",)) == 2
    assert not (run.folder / "report/accepted/31120.json").exists()
    assert (run.inventory / "baseline.yml").read_text(encoding="utf-8") == before


def test_a_line_that_slowly_gets_worse_does_not_become_usual_unless_somebody_says_so(run: Run) -> None:
    run.measured("31120")
    assert run.report("31120", more=("--baseline",)) == 0
    before = (run.inventory / "baseline.yml").read_text(encoding="utf-8")
    run.results.clear()
    run.measured("31120", {"line": {"metrics": {**GOOD["line"][1], "rtt_median_seconds": 0.03}}})
    assert run.report("31120", more=("--baseline",)) == 0
    assert (run.inventory / "baseline.yml").read_text(encoding="utf-8") == before
    assert run.report("31120", more=("--baseline", "--renew")) == 0
    assert "rtt_median_seconds: 0.03" in (run.inventory / "baseline.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("service", "colour"), [("one-stop", "red"), ("dns", "green")])
def test_a_limit_of_one_service_holds_for_that_service_alone(run: Run, service: str, colour: str) -> None:
    path = run.inventory / "group_vars/all/limits.yml"
    own = f"  - {{check: http_get, metric: total_seconds, service: {service}, red: {{enter: 0.01, leave: 0.01}}}}\n"
    path.write_text(path.read_text(encoding="utf-8") + own, encoding="utf-8")
    run.measured("31120")
    run.report("31120")
    assert run.colours("31120")["one_stop_time"] == colour


def test_a_limit_of_another_site_does_not_hold_here(run: Run) -> None:
    path = run.inventory / "group_vars/all/limits.yml"
    own = "  - {check: http_get, metric: total_seconds, sites: ['31147'], red: {enter: 0.01, leave: 0.01}}\n"
    path.write_text(path.read_text(encoding="utf-8") + own, encoding="utf-8")
    run.measured("31120")
    run.measured("31147")
    run.report("31120", "31147")
    assert (run.colours("31120")["one_stop_time"], run.colours("31147")["one_stop_time"]) == ("green", "red")


def test_what_the_agent_measured_under_a_lease_belongs_to_its_check(run: Run) -> None:
    run.measured("31120")
    for result in run.results:
        if result["check"] == "capacity":
            del result["id"]
    assert run.report("31120") == 0
    assert run.colours("31120")["bandwidth_up"] == "green"


def test_half_a_line_of_a_run_that_was_cut_is_said_and_not_measured(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.measured("31120", {"firewall": None})
    assert run.report("31120") == 2
    path = run.folder / "measured/cut.jsonl"
    path.write_text('{"id": "firewall", "site": "31120", "metr', encoding="utf-8")
    capsys.readouterr()
    assert run.report("31120") == 2
    assert f"{path}:1: is no result" in capsys.readouterr().err


def test_the_table_for_spreadsheets_has_one_row_a_site(run: Run) -> None:
    run.measured("31120")
    run.measured("31135", {"second_reach": None})
    run.report()
    text = (run.folder / "report/report.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf"), "spreadsheets take it for UTF-8 only by this mark"
    rows = list(csv.DictReader(text.decode("utf-8-sig").splitlines()))
    assert {row["site"] for row in rows} == {"31120", "31135", "31147", "31150"}
    row = next(row for row in rows if row["site"] == "31120")
    assert (row["name"], row["accepted"], row["profile"]) == ("Phường Cái Khế", "yes", "1")
    assert (row["latency"], row["latency_value"], row["latency_limit"]) == ("green", "0.0081", "< 50 ms")
    assert next(row for row in rows if row["site"] == "31135")["accepted"] == "no"


class _Cells(HTMLParser):
    """Collects the cells of a table by class, with their text."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[str, str]] = []
        self.outside: list[str] = []
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words = dict(attrs)
        if tag == "td":
            self._open = words.get("class") or ""
            self.cells.append((self._open, ""))
        if tag in ("script", "link", "img", "iframe") or words.get("src") or words.get("href"):
            self.outside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            name, text = self.cells[-1]
            self.cells[-1] = (name, text + data)


def test_the_page_stands_alone_and_colour_is_never_its_only_sign(run: Run) -> None:
    run.measured("31120", {"time": {"metrics": {"offset_abs_seconds": 0.3}}})
    run.measured("31147", {"line": {"metrics": {**GOOD["line"][1], "rtt_median_seconds": 0.9}}})
    run.report()
    text = (run.folder / "report/report.html").read_text(encoding="utf-8")
    page = _Cells()
    page.feed(text)
    assert page.outside == []
    assert "@import" not in text
    assert "url(" not in text
    signs = {"green": "✔", "yellow": "▲", "red": "✖", "unmeasured": "?", "left_out": "–"}
    assert {name for name, _ in page.cells} == set(signs)
    assert all(text.startswith(signs[name]) for name, text in page.cells)
    assert "Phường Cái Khế" in text
    assert "Độ trễ khứ hồi: đỏ 900 ms (&lt; 50 ms)" in text
    assert "không phải điểm đánh giá chính thức" in text


def test_a_name_is_text_to_the_page_and_no_formula_to_a_spreadsheet(run: Run) -> None:
    path = run.inventory / "sites/pop_cai_khe.yml"
    text = path.read_text(encoding="utf-8").replace("site_name: Phường Cái Khế", 'site_name: "=<b>1"')
    path.write_text(text, encoding="utf-8")
    run.measured("31120")
    run.report("31120")
    page = (run.folder / "report/report.html").read_text(encoding="utf-8")
    assert "=<b>1" not in page
    assert "=&lt;b&gt;1" in page
    assert "'=<b>1" in (run.folder / "report/report.csv").read_text(encoding="utf-8-sig")


def test_the_shipped_profile_judges_by_limits_that_there_are(run: Run) -> None:
    profile = read_profile(run.folder)
    assert profile == read_profile(run.inventory), "the lab has the shipped one"
    assert SHIPPED.read_text(encoding="utf-8") == (LAB / "acceptance.yml").read_text(encoding="utf-8")
    run.measured("31120")
    run.report("31120")
    findings = run.verdict("31120")["findings"]
    assert all(each["limit"] for name, each in findings.items() if name != "second_link")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version: "1"', "version: 1", r"acceptance\.yml:\d+: version: expected `str`, got `int`"),
        ("of: reach,", "of: reich,", r"acceptance\.yml:\d+: link is of 'reich', which is no measurement; there are: "),
        (
            "side: control}",
            "side: control, check: stamp}",
            r"acceptance\.yml:\d+: measurements\[9\]: side control is measured by the playbook",
        ),
        (
            "yellow: 0.05, red: 0.5",
            "yellow: 0.5, red: 0.05",
            r"acceptance\.yml:\d+: criteria\[0\]: red \(0\.05\) must be above yellow \(0\.5\)",
        ),
        (
            "service: dns}",
            "service: dns, target: x}",
            r"acceptance\.yml:\d+: measurements\[4\]: takes target and parameters from its service: leave them out",
        ),
        (
            "measurement: dns,",
            "measurement: time,",
            r"acceptance\.yml:\d+: 'time' is given twice",
        ),
        ("metric: loss_ratio,", "metrik: loss_ratio,", r"acceptance\.yml:\d+: criteria\[0\]\.metrik: is unknown; "),
    ],
)
def test_a_profile_with_a_mistake_names_its_line(
    run: Run, old: str, new: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.inventory / "acceptance.yml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert main(["plan", str(run.inventory)]) == 1
    assert re.search(re.escape(str(run.inventory)) + "/" + words, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "LAB", "99999"), "nhip acceptance: 99999: no site of the inventory with a gateway has this id"),
        (("plan", "LAB/nowhere"), "is no folder: an inventory is one"),
        (("report", "LAB", "--measured", "LAB/nowhere", "--out", "LAB/report"), "--measured: LAB/nowhere is no folder"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    run: Run, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("LAB", str(run.inventory)) for word in words]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message.replace("LAB", str(run.inventory)) in line


def test_a_baseline_that_was_spoilt_is_named_with_its_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.inventory / "baseline.yml").write_text('sites:\n  "31120":\n    profile: "1"\n', encoding="utf-8")
    assert main(["plan", str(run.inventory)]) == 1
    told = capsys.readouterr().err
    assert f"{run.inventory}/baseline.yml:" in told
    assert "measured_at: is missing" in told
