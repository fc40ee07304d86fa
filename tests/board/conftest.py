"""One headless browser for all of the board's tests, and a fresh collector and page for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.board.fake_collector import FakeCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ARGUMENTS = [
    "--no-sandbox",  # tests run as root in containers, and open only our own page
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MILLISECONDS = 15_000

expect.set_options(timeout=WAIT_MILLISECONDS)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    fake = FakeCollector().start()
    yield fake
    if fake.thread.is_alive():
        fake.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Open a page on a laptop in Cần Thơ; whatever its console calls an error fails the test."""
    context = await browser.new_context(
        viewport={"width": 1366, "height": 768}, timezone_id="Asia/Ho_Chi_Minh", color_scheme="light"
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    one = await context.new_page()
    wrong: list[str] = []
    one.on("pageerror", lambda error: wrong.append(str(error)))
    yield one
    await context.close()
    assert not wrong
