"""When the news stops: a stale board must look stale, and catch up by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.board.fake_collector import TOKEN, FakeCollector, make_site

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_board_that_lost_its_server_says_for_how_long_and_catches_up(
    page: Page, collector: FakeCollector
) -> None:
    collector.put_site(make_site("31120", "Phường Cái Khế"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    collector.stop()
    await expect(page.locator("#banner")).to_contain_text("Mất kết nối với máy chủ")
    await expect(page.locator("#banner")).to_contain_text("giây")
    faded = "main => getComputedStyle(main).filter"
    assert "grayscale" in await page.locator("main").evaluate(faded)
    revived = FakeCollector()
    revived.put_site(make_site("31120", "Phường Cái Khế", level="red"))
    revived.start(collector.port)
    try:
        await expect(page.locator("[data-site='31120']")).to_have_attribute("data-level", "red")
        await expect(page.locator("#banner")).to_be_empty()
        assert await page.locator("main").evaluate(faded) == "none"
    finally:
        revived.stop()


async def test_a_board_that_needs_a_token_asks_for_it_and_refuses_a_wrong_one(
    page: Page, collector: FakeCollector
) -> None:
    collector.must_sign_in = True
    collector.put_site(make_site("31120", "Phường Cái Khế"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    await page.get_by_label("Mã truy cập").fill("sai")
    await page.keyboard.press("Enter")
    await expect(page.locator("#sign-in .refusal")).to_have_text("Mã truy cập không đúng hoặc đã bị thu hồi.")
    await page.get_by_label("Mã truy cập").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.locator("#sign-in")).to_have_count(0)
    await expect(page.locator(".tile")).to_have_count(2)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    await expect(page.get_by_role("button", name="Đăng xuất")).to_be_visible()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_events_cut_anywhere_by_the_network_are_whole_again(
    page: Page, collector: FakeCollector, line_end: str
) -> None:
    stream = line_end.join(
        [": hello", "", "event: site", 'data: {"a": 1}', "", ": still here", "", "event: signal", "data: {}", "", ""]
    )
    await page.goto(collector.url)
    for width in (1, 2, 7, len(stream)):
        events = await page.evaluate(
            """async ([stream, width]) => {
                const {EventParser} = await import('/static/events.js');
                const parser = new EventParser();
                const pieces = stream.match(new RegExp(`[^]{1,${width}}`, 'g'));
                return pieces.flatMap((piece) => parser.feed(piece));
            }""",
            [stream + ": more" + line_end, width],
        )
        assert events == [{"name": "site", "data": '{"a": 1}'}, {"name": "signal", "data": "{}"}]
