"""What a newcomer sees: `nhip up` on a machine, a service stopped, the page without a reload."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.running import ROOT, answers, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Machine:
    """`nhip up` and a web server beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.web_port = folder, free_port(), free_web_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.web: subprocess.Popen[bytes] | None = None
        self.up: subprocess.Popen[bytes] | None = None

    def start_web(self) -> None:
        command = [
            sys.executable,
            "-m",
            "http.server",
            str(self.web_port),
            "--bind",
            "127.0.0.1",
            "-d",
            str(self.folder),
        ]
        self.web = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: answers(self.web_port), what="the web server's answer")

    def stop_web(self) -> None:
        if self.web is not None:
            self.web.kill()
            self.web.wait()

    def start_up(self) -> None:
        command = [
            sys.executable,
            "-m",
            "nhip",
            "up",
            "--listen",
            f"127.0.0.1:{self.port}",
            "--data",
            str(self.folder / "up"),
        ]
        with (self.folder / "output").open("wb") as output:
            self.up = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        until(lambda: b"Nh\xe1\xbb\x8bp is running" in (self.folder / "output").read_bytes(), what="the welcome")

    def end_up(self) -> int:
        assert self.up is not None
        self.up.send_signal(signal.SIGINT)
        return self.up.wait(30)


def free_web_port() -> int:
    """Return a port below the ephemeral ones: there `nhip up` looks for services."""
    return next(port for port in range(20_000 + os.getpid() % 5_000, 32_000) if not answers(port))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.start_web()
    made.start_up()
    yield made
    made.stop_web()
    if made.up is not None and made.up.poll() is None:
        made.end_up()


async def test_a_newcomer_sees_a_stopped_service_turn_red_and_green_again(page: Page, machine: Machine) -> None:
    await page.goto(machine.url)
    tile = page.locator("[data-site='here']")
    await expect(tile).to_contain_text("Bình thường")
    await expect(page.locator("canvas").first).to_be_visible()
    machine.stop_web()
    await expect(tile).to_contain_text("Nghiêm trọng")
    incident = page.locator("[data-incident]").first
    await expect(incident).to_contain_text(str(machine.web_port))
    await expect(incident).to_contain_text("connection refused")
    await page.screenshot(path=str(machine.folder / "red.png"))
    await asyncio.to_thread(machine.start_web)
    await expect(tile).to_contain_text("Bình thường")
    assert await asyncio.to_thread(machine.end_up) == 0
    await asyncio.to_thread(machine.start_up)
    await page.goto(f"{machine.url}site/here")
    await expect(page.locator("body")).to_contain_text(str(machine.web_port))  # its history is still there
