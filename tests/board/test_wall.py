"""The wall: tiles, groups, search, filter, and changes that arrive by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.board.fake_collector import ago, make_site

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.board.fake_collector import FakeCollector

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tile(site: str) -> str:
    return f"[data-site='{site}']"


async def test_every_site_is_a_tile_in_its_group_with_a_colour_a_shape_and_a_word(
    page: Page, collector: FakeCollector
) -> None:
    words = {"green": "Bình thường", "yellow": "Cảnh báo", "red": "Nghiêm trọng", "unknown": "Chưa rõ"}
    for number, level in enumerate(words):
        collector.put_site(make_site(f"3112{number}", f"Phường {level}", level=level))
    collector.put_site(make_site("31300", "Xã Thạnh An", group="Vĩnh Thạnh"))
    await page.goto(collector.url)
    await expect(page.locator(".group-name")).to_have_text(["Ninh Kiều 4", "Vĩnh Thạnh 1"])
    colours = set()
    for number, (level, word) in enumerate(words.items()):
        one = page.locator(tile(f"3112{number}"))
        await expect(one).to_contain_text(word)
        await expect(one.locator("> .shape use")).to_have_attribute("href", f"#shape-{level}")
        colours.add(await one.evaluate("tile => getComputedStyle(tile).backgroundColor"))
    assert len(colours) == 4
    await expect(page.locator("[data-count=red]")).to_have_text("1")


async def test_a_tile_tells_name_code_since_when_figures_and_when_it_was_heard(
    page: Page, collector: FakeCollector
) -> None:
    collector.put_site(make_site("31120", "Phường Cái Khế", loss_ratio=0.125, last_heard_at=ago(63)))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    for words in ("Phường Cái Khế", "31120", "2 giờ 1 phút", "4,12 ms", "12,5 %", "nhận tin 1 phút trước"):
        await expect(page.locator(tile("31120"))).to_contain_text(words)


async def test_what_was_not_measured_is_not_shown_as_zero(page: Page, collector: FakeCollector) -> None:
    site = make_site("31120", "Phường Cái Khế", level="unknown")
    for key in ("rtt_median_seconds", "loss_ratio", "last_heard_at", "since"):
        del site[key]
    collector.sites = {"31120": site, "31121": make_site("31121", "Phường Tân An")}
    await page.goto(collector.url)
    await expect(page.locator(tile("31120"))).to_contain_text("chưa nhận tin lần nào")
    await expect(page.locator(f"{tile('31120')} .figure")).to_have_count(0)


async def test_a_site_that_fails_turns_red_without_a_reload(page: Page, collector: FakeCollector) -> None:
    collector.put_site(make_site("31120", "Phường Cái Khế"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    await expect(page.locator(".tile")).to_have_count(2)
    await page.evaluate("() => { document.querySelector('[data-site]').dataset.sameElement = 'yes'; }")
    collector.put_site(make_site("31120", "Phường Cái Khế", level="red", silent=True))
    await expect(page.locator(tile("31120"))).to_have_attribute("data-level", "red")
    await expect(page.locator(tile("31120"))).to_contain_text("Mất tín hiệu")
    await expect(page.locator(tile("31121"))).to_have_attribute("data-level", "green")
    await expect(page.locator("[data-count=red]")).to_have_text("1")
    await expect(page.locator("[data-same-element=yes]")).to_have_count(1)


async def test_a_new_site_joins_its_group(page: Page, collector: FakeCollector) -> None:
    collector.put_site(make_site("31120", "Phường Cái Khế"))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    collector.put_site(make_site("31300", "Xã Thạnh An", group="Vĩnh Thạnh"))
    await expect(page.locator(".group-name")).to_have_text(["Ninh Kiều 2", "Vĩnh Thạnh 1"])


@pytest.mark.parametrize("words", ["Hòa An", "Hoà An", "hoa an", "HOA", "31170"])
async def test_search_forgives_marks_and_capitals(page: Page, collector: FakeCollector, words: str) -> None:
    collector.put_site(make_site("31170", "Xã Hòa An"))
    collector.put_site(make_site("31171", "Phường Đông Thuận"))
    await page.goto(collector.url)
    await page.keyboard.press("/")
    await page.keyboard.type(words)
    await expect(page.locator(tile("31171"))).to_be_hidden()
    await expect(page.locator(tile("31170"))).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(tile("31171"))).to_be_visible()


async def test_the_letter_d_with_a_stroke_is_found_by_d(page: Page, collector: FakeCollector) -> None:
    collector.put_site(make_site("31170", "Xã Hòa An"))
    collector.put_site(make_site("31171", "Phường Đông Thuận"))
    await page.goto(collector.url)
    await page.fill("#search", "dong thu")
    await expect(page.locator(tile("31170"))).to_be_hidden()
    await expect(page.locator(tile("31171"))).to_be_visible()
    await page.fill("#search", "không có điểm này")
    await expect(page.get_by_text("Không có điểm nào khớp.")).to_be_visible()


async def test_a_level_can_be_shown_alone_and_a_site_that_changes_comes_and_goes(
    page: Page, collector: FakeCollector
) -> None:
    collector.put_site(make_site("31120", "Phường Cái Khế", level="red"))
    collector.put_site(make_site("31121", "Phường Tân An", group="Cái Răng"))
    await page.goto(collector.url)
    await page.click(".chip[data-level=red]")
    await expect(page.locator(".chip[data-level=red]")).to_have_attribute("aria-pressed", "true")
    await expect(page.locator(tile("31121"))).to_be_hidden()
    await expect(page.locator(".group-name", has_text="Cái Răng")).to_be_hidden()
    collector.put_site(make_site("31121", "Phường Tân An", group="Cái Răng", level="red"))
    await expect(page.locator(tile("31121"))).to_be_visible()
    await page.click(".chip[data-level=red]")
    await expect(page.locator(".tile:visible")).to_have_count(2)


async def test_names_are_text_and_never_markup(page: Page, collector: FakeCollector) -> None:
    nasty = '<img src=x onerror="window.hacked=1"> \' " & {{ x }} </a><script>window.hacked=1</script>'
    collector.put_site(make_site('<b>&"1', nasty, group=nasty))
    collector.put_site(make_site("31121", "Phường Tân An"))
    await page.goto(collector.url)
    await expect(page.locator(".tile-name", has_text="<img")).to_have_text(nasty)
    await page.locator(".tile", has_text="<img").click()
    await expect(page.locator("h1")).to_have_text(nasty)
    await expect(page).to_have_url(f"{collector.url}/site/%3Cb%3E%26%221")
    assert await page.locator("main img, main script").count() == 0
    assert await page.evaluate("window.hacked") is None


async def test_the_whole_nation_loads_and_one_change_touches_one_tile(page: Page, collector: FakeCollector) -> None:
    for number in range(3321):
        site = make_site(f"{10000 + number}", f"Xã Số {number}", group=f"Tỉnh {number % 34}")
        collector.sites[site["site"]] = site
    await page.goto(collector.url)
    await expect(page.locator(".tile")).to_have_count(3321)
    await page.evaluate(
        """() => { window.touched = new Set(); new MutationObserver((changes) => {
            for (const {target} of changes) window.touched.add(target.closest?.('.tile')?.dataset.site ?? null);
        }).observe(document.querySelector('.wall'), {subtree: true, childList: true, attributes: true}); }"""
    )
    await expect(page.locator("#pulse-word")).to_have_text("Trực tiếp")
    collector.put_site(make_site("13000", "Xã Số 3000", group="Tỉnh 8", level="red"))
    await expect(page.locator(tile("13000"))).to_have_attribute("data-level", "red")
    assert await page.evaluate("[...window.touched]") == ["13000"]


async def test_a_machine_of_its_own_shows_its_chart_and_signals_at_once(page: Page, collector: FakeCollector) -> None:
    collector.put_site(make_site("local", "máy này", group=None))
    await page.goto(collector.url)
    await expect(page.locator(".tile")).to_have_count(1)
    await expect(page.locator(".plot canvas")).to_be_visible()
    await expect(page.locator(".signals tbody tr")).to_have_count(4)
    collector.put_site(make_site("31121", "Phường Tân An"))
    await expect(page.locator(".tile")).to_have_count(2)


async def test_a_board_without_any_site_says_so(page: Page, collector: FakeCollector) -> None:
    await page.goto(collector.url)
    await expect(page.get_by_text("Chưa có điểm nào gửi số đo.")).to_be_visible()
    await expect(page.get_by_text("Không có sự cố nào đang mở.")).to_be_visible()
