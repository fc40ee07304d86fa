"""The page of a site: its signals, and its chart from ten minutes to ninety days."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.board.fake_collector import ago, make_site

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.board.fake_collector import FakeCollector

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def collector(collector: FakeCollector) -> FakeCollector:
    collector.put_site(make_site("31120", "Phường Cái Khế", level="red"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    return collector


async def open_site(page: Page, collector: FakeCollector) -> None:
    await page.goto(f"{collector.url}/site/31120")
    await expect(page.locator(".plot canvas")).to_be_visible()
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)


def whole_spans(collector: FakeCollector) -> list[dict[str, list[str]]]:
    """Leave out the questions for only its newest end."""
    return [asked for asked in collector.asked if asked["from"][0].startswith("-") or "to" in asked]


async def test_the_chart_asks_for_the_spread_of_the_path_first(page: Page, collector: FakeCollector) -> None:
    await open_site(page, collector)
    asked = whole_spans(collector)[0]
    assert asked["metric"] == ["rtt_min_seconds", "rtt_median_seconds", "rtt_p95_seconds", "loss_ratio"]
    assert (asked["check"], asked["target"], asked["site"]) == (["icmp_echo"], ["127.0.0.1"], ["31120"])
    assert asked["from"] == ["-1h"]
    await expect(page.locator(".legend")).to_contain_text("trung vị")
    await expect(page.locator(".legend")).to_contain_text("ms")


async def test_each_range_asks_for_its_span_and_says_how_fine_the_answer_is(
    page: Page, collector: FakeCollector
) -> None:
    await open_site(page, collector)
    steps = {"10m": "1 giây", "6h": "1 phút", "24h": "5 phút", "7d": "30 phút", "30d": "2 giờ", "90d": "6 giờ"}
    for name, step in steps.items():
        await page.click(f"[data-range='{name}']")
        await expect(page.locator(f"[data-range='{name}']")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
        await expect(page.locator(".legend")).to_contain_text(f"mỗi điểm {step}")
        assert whole_spans(collector)[-1]["from"] == [f"-{name}"]


def seconds(asked: dict[str, list[str]]) -> float:
    start, end = (datetime.fromisoformat(asked[key][0]) for key in ("from", "to"))
    return (end - start).total_seconds()


async def test_a_drag_zooms_in_and_asks_for_finer_data_and_a_double_click_goes_back(
    page: Page, collector: FakeCollector
) -> None:
    await open_site(page, collector)
    await page.click("[data-range='24h']")
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
    box = await page.locator(".u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=5)
    await page.mouse.up()
    await expect(page.locator("[data-zoom=zoom_reset]")).to_be_visible()
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
    zoomed = whole_spans(collector)[-1]
    assert seconds(zoomed) == pytest.approx(86400 / 4, rel=0.05)
    await expect(page.locator(".legend")).to_contain_text("mỗi điểm 1 phút")
    await page.locator(".u-over").dblclick()
    await expect(page.locator("[data-zoom=zoom_reset]")).to_be_hidden()
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
    assert whole_spans(collector)[-1]["from"] == ["-24h"]


async def test_buttons_zoom_where_there_is_no_mouse(page: Page, collector: FakeCollector) -> None:
    await open_site(page, collector)
    await page.get_by_role("button", name="Phóng to", exact=True).click()
    await expect(page.locator("[data-zoom=zoom_reset]")).to_be_visible()
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
    assert seconds(whole_spans(collector)[-1]) == pytest.approx(1800, rel=0.05)


async def test_the_end_of_the_chart_goes_on_by_itself(page: Page, collector: FakeCollector) -> None:
    await open_site(page, collector)
    await page.click("[data-range='10m']")
    await expect(page.locator(".chart[aria-busy]")).to_have_count(0)
    shown = await page.locator(".legend-time").inner_text()
    await expect(page.locator(".legend-time")).not_to_have_text(shown)
    tails = [asked for asked in collector.asked if asked not in whole_spans(collector)]
    assert tails
    assert time.time() - datetime.fromisoformat(tails[-1]["from"][0]).timestamp() < 60


async def test_another_check_and_another_metric_can_be_drawn(page: Page, collector: FakeCollector) -> None:
    await open_site(page, collector)
    await page.get_by_label("Đường đo").select_option(label="http_get → https://127.0.0.1/ · gateway")
    await expect(page.locator(".legend")).to_contain_text("Lỗi")
    assert whole_spans(collector)[-1]["metric"] == ["total_seconds", "success"]
    await page.get_by_label("Đường đo").select_option(label="host_health → localhost · gateway")
    await page.get_by_label("Chỉ số").select_option(label="Đĩa đã dùng /var")
    await expect(page.locator(".legend")).to_contain_text("%")
    assert whole_spans(collector)[-1]["metric"] == ["disk_used_ratio[/var]"]


async def plan_columns(page: Page, rows: list[list[float]], step: int) -> Any:
    """Ask the page what it would draw of rows [at, value] of total_seconds."""
    return await page.evaluate(
        """async ([rows, step]) => {
            const {plansOf, columnsOf, rowsByTime} = await import('/static/plans.js');
            const [plan] = plansOf({metrics: ['total_seconds']});
            const answer = {columns: ['at', 'min', 'p50', 'p95'], rows: rows.map(([at, v]) => [at, v, v, v])};
            return columnsOf(plan, new Map([['total_seconds', rowsByTime(answer)]]), step);
        }""",
        [rows, step],
    )


async def test_a_gap_in_the_measurements_stays_a_gap(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    times, _, middle, *_ = await plan_columns(page, [[0, 1], [10, 1], [20, 1], [80, 2], [90, 2]], 10)
    assert times == [0, 10, 20, 30, 80, 90]
    assert middle == [1, 1, 1, None, 2, 2]


async def test_a_check_that_is_rarer_than_the_step_is_not_torn_apart(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    times, _, middle, *_ = await plan_columns(page, [[0, 1], [60, 1], [120, 1], [180, 1]], 2)
    assert times == [0, 60, 120, 180]
    assert None not in middle


async def test_a_span_without_measurements_says_so(page: Page, collector: FakeCollector) -> None:
    collector.down_between = (0, time.time() + 3600)
    await open_site(page, collector)
    await expect(page.get_by_text("Không có số đo nào trong khoảng này.")).to_be_visible()


async def test_signals_stand_worst_first_and_change_by_themselves(page: Page, collector: FakeCollector) -> None:
    await open_site(page, collector)
    rows = page.locator(".signals tbody tr")
    await expect(rows.first).to_contain_text("Nghiêm trọng")
    await expect(rows.first).to_contain_text("http_get")
    signal = {"site": "31120", "node": "gateway", "check": "icmp_echo", "target": "127.0.0.1"}
    news = {"metric": "rtt_median_seconds", "level": "yellow", "value": 0.25, "measured_at": ago(0)}
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    collector.tell("signal", {**signal, **news})
    changed = page.locator(".signals tr", has_text="250 ms")
    await expect(changed).to_contain_text("Cảnh báo")
    await expect(changed.locator(".shape use")).to_have_attribute("href", "#shape-yellow")


async def test_the_keyboard_opens_a_site_and_the_browser_goes_back(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    await page.locator("[data-site='31120']").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Phường Cái Khế")
    await page.go_back()
    await expect(page.locator(".tile")).to_have_count(2)
