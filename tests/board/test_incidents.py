"""Incidents: the panel, the page of one, and saying that somebody is on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.board.fake_collector import ago, make_incident, make_site

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.board.fake_collector import FakeCollector

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = ".open-ones .incident"
RESOLVED = ".resolved-ones .incident"


@pytest.fixture
def collector(collector: FakeCollector) -> FakeCollector:
    collector.put_site(make_site("31120", "Phường Cái Khế", level="red"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    collector.put_incident(make_incident(1, "31120", "Phường Cái Khế", began=3700))
    return collector


async def test_a_new_incident_appears_on_top_and_moves_down_when_it_is_over(
    page: Page, collector: FakeCollector
) -> None:
    await page.goto(collector.url)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    await expect(page.locator(OPEN)).to_have_count(1)
    collector.put_incident(make_incident(2, "31121", "Phường Tân An", began=8))
    await expect(page.locator(OPEN).first).to_contain_text("Phường Tân An")
    await expect(page.locator(OPEN)).to_have_count(2)
    await expect(page).to_have_title("(2) Nhịp · Bảng theo dõi")
    await expect(page.locator("#announcer")).to_have_text("Sự cố mới: Phường Tân An · Cổng dịch vụ công không trả lời")
    over = make_incident(2, "31121", "Phường Tân An", began=8, state="resolved", resolved_at=ago(0))
    collector.put_incident(over)
    await expect(page.locator(OPEN)).to_have_count(1)
    await expect(page.locator(RESOLVED)).to_contain_text("Phường Tân An")
    await expect(page.locator("#announcer")).to_contain_text("Đã khắc phục")


async def test_an_incident_says_what_where_since_when_and_on_what_evidence(
    page: Page, collector: FakeCollector
) -> None:
    await page.goto(collector.url)
    for words in (
        "Cổng dịch vụ công không trả lời",
        "Phường Cái Khế",
        "1 giờ 1 phút",
        "connection refused",
        "http_get",
    ):
        await expect(page.locator(OPEN)).to_contain_text(words)


async def test_one_press_acknowledges_and_shows_who(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    await page.get_by_role("button", name="Nhận xử lý").click()
    await expect(page.locator(OPEN)).to_contain_text("Lan đã nhận xử lý")
    await expect(page.get_by_role("button", name="Nhận xử lý")).to_have_count(0)


async def test_a_viewer_who_acknowledges_is_told_what_it_needs(page: Page, collector: FakeCollector) -> None:
    collector.role = "viewer"
    await page.goto(collector.url)
    await page.get_by_role("button", name="Nhận xử lý").click()
    await expect(page.locator(".refusal")).to_contain_text("vai trò operator")
    await page.get_by_role("button", name="Đăng nhập").click()
    await expect(page.locator("#sign-in")).to_be_visible()


async def test_the_page_of_an_incident_tells_its_story_and_goes_on_by_itself(
    page: Page, collector: FakeCollector
) -> None:
    await page.goto(collector.url)
    await page.locator(".incident-what").click()
    await expect(page).to_have_url(f"{collector.url}/incident/20261121-1")
    await expect(page.locator("h1")).to_have_text("Cổng dịch vụ công không trả lời")
    await expect(page.locator(".timeline li")).to_have_count(3)
    await expect(page.locator(".evidence li")).to_contain_text("gateway · http_get https://127.0.0.1/")
    await expect(page.locator(".plot canvas")).to_be_visible()
    over = make_incident(1, "31120", "Phường Cái Khế", began=3700, state="resolved", resolved_at=ago(0))
    collector.put_incident(over)
    await expect(page.locator(".timeline li")).to_have_count(4)
    await expect(page.locator(".facts")).to_contain_text("đã kéo dài 1 giờ 1 phút")


async def test_an_unknown_incident_or_site_is_said_plainly(page: Page, collector: FakeCollector) -> None:
    await page.goto(f"{collector.url}/incident/none")
    await expect(page.get_by_text("Không có sự cố nào mang mã này.")).to_be_visible()
    await page.goto(f"{collector.url}/site/none")
    await expect(page.get_by_text("Không có điểm nào mang mã này.")).to_be_visible()


async def test_what_many_sites_share_is_named_as_such_and_leads_to_each_of_them(
    page: Page, collector: FakeCollector
) -> None:
    text = {"vi": "Điểm kết nối Một mất kết nối: 2 điểm phía sau không liên lạc được", "en": "One is down"}
    cause = {"kind": "upstream", "place": "pop_1", "text": text}
    shared = make_incident(3, "", "Điểm kết nối Một", cause=cause, sites=["31120", "31121"], evidence=[], serious=True,
                           reports=[{"hours": 24, "due_at": ago(-86_400)}], assigned_to="Lan")  # fmt: skip
    collector.put_incident(shared)
    await page.goto(collector.url)
    card = page.locator(OPEN).first
    await expect(card).to_contain_text("Điểm kết nối Một (2) · Điểm kết nối")
    await card.locator(".incident-what").click()
    for words in ("báo cáo 24 giờ: hạn", "Giao cho", "Lan", "Phường Tân An"):
        await expect(page.locator(".facts")).to_contain_text(words)
    await page.locator(".facts .site-links a").last.click()
    await expect(page).to_have_url(f"{collector.url}/site/31121")


@pytest.mark.parametrize(
    "kind", ["line", "power", "off", "agent", "delivery", "impaired", "redundancy", "clock", "collector"]
)
async def test_every_cause_has_a_name(page: Page, collector: FakeCollector, kind: str) -> None:
    text = {"vi": "Một điều đã xảy ra", "en": "Something has happened"}
    collector.put_incident(make_incident(4, "31121", "Phường Tân An", cause={"kind": kind, "place": "", "text": text}))
    await page.goto(collector.url)
    await expect(page.locator(OPEN).first).to_contain_text("Một điều đã xảy ra")
    await expect(page.locator(OPEN).first.locator(".incident-where")).not_to_contain_text("undefined")
