"""Languages, themes, phones and walls; and that colours can be read and told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.board.fake_collector import make_incident, make_site

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

    from tests.board.fake_collector import FakeCollector

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEVELS = ("green", "yellow", "red", "unknown")
PATHS = ("/", "/site/31200", "/incident/20261121-1")
LONG = "Xã Nhơn Hòa Lập Thạnh Phú Đông có một cái tên rất dài không chỗ nào chứa nổi"


@pytest.fixture
def collector(collector: FakeCollector) -> FakeCollector:
    for number in range(48):
        level = LEVELS[number % 4]
        collector.put_site(
            make_site(f"{31100 + number}", f"Phường Số {number}", group=f"Nhóm {number % 5}", level=level)
        )
    collector.put_site(make_site("31200", LONG, group=LONG))
    for number in (1, 2):
        collector.put_incident(make_incident(number, "31200", LONG))
    return collector


async def test_one_click_switches_the_language_and_it_is_remembered(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    await expect(page.locator("html")).to_have_attribute("lang", "vi")
    await expect(page.get_by_role("heading", name="Sự cố đang mở")).to_be_visible()
    await page.click("#language")
    await expect(page.get_by_role("heading", name="Open incidents")).to_be_visible()
    await expect(page.locator("[data-site='31102']")).to_contain_text("Critical")
    await expect(page.locator(".incident").first).to_contain_text("The public service portal does not answer")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.get_by_role("heading", name="Open incidents")).to_be_visible()
    await page.click("#language")
    await expect(page.get_by_role("heading", name="Sự cố đang mở")).to_be_visible()


async def test_the_theme_follows_the_system_until_a_person_chooses(page: Page, collector: FakeCollector) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"{collector.url}/site/31100")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.click("#theme")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(page.locator(".plot canvas")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 1366, 1920])
async def test_nothing_sticks_out_to_the_side(page: Page, collector: FakeCollector, width: int, tmp_path: Path) -> None:
    await page.set_viewport_size({"width": width, "height": 1080 if width > 1000 else 780})
    for number, path in enumerate(PATHS):
        await page.goto(f"{collector.url}{path}")
        await expect(page.locator(".tile, .plot canvas").first).to_be_visible()
        await page.screenshot(path=tmp_path / f"{number}.png", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const light = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour;
        }
        return 'white';
    };
    const worst = [];
    for (const element of document.querySelectorAll('body *')) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!hasText || !element.checkVisibility() || element.closest('svg, option')) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) worst.push(`${element.className} ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return worst;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_text_can_be_read(page: Page, collector: FakeCollector, theme: str) -> None:
    await page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    for path in PATHS:
        await page.goto(f"{collector.url}{path}")
        await expect(page.locator(".tile, .plot canvas").first).to_be_visible()
        assert await page.evaluate(CONTRAST) == [], path


async def test_what_moves_holds_still_for_those_who_ask(page: Page, collector: FakeCollector) -> None:
    await page.emulate_media(reduced_motion="reduce")
    await page.goto(collector.url)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    assert await page.locator(".dot").evaluate("dot => getComputedStyle(dot).animationName") == "none"


async def test_the_first_stop_of_the_tab_key_leads_past_the_header(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    await expect(page.locator(".tile").first).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.locator("#skip")).to_be_focused()
