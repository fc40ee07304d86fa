"""Take the README's picture: `nhip up` on this machine for some minutes, then a web server stopped.

    python docs/picture.py docs/board.png [--minutes 6]

Real measurements and a real incident; needs chromium and the development tools (`make test` installs both).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WEB_PORT = 8000


def free_port() -> int:
    """Return a port on loopback that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until something answers on a port of loopback."""
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise SystemExit(f"nothing answers on 127.0.0.1:{port}")


def has_incident(port: int) -> bool:
    """Tell whether the board has an open incident."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/api/v1/incidents?state=open")
    try:
        return b'"id"' in connection.getresponse().read()
    finally:
        connection.close()


def take(url: str, out: Path) -> None:
    """Write a picture of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(url)
        page.wait_for_timeout(4000)
        page.screenshot(path=str(out))
        browser.close()


def main() -> None:
    """Run everything for some minutes, stop the web server, take the picture, and end it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nhip-picture-") as folder:
        serve = [sys.executable, "-m", "http.server", str(WEB_PORT), "--bind", "127.0.0.1", "-d", folder]
        web = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = free_port()
        up = None
        try:
            wait_for(WEB_PORT)
            if web.poll() is not None:
                raise SystemExit(f"port {WEB_PORT} is taken: the picture wants a web server of its own there")
            command = [sys.executable, "-m", "nhip", "up", "--listen", f"127.0.0.1:{port}", "--data", f"{folder}/data"]
            up = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(port)
            time.sleep(options.minutes * 60)
            web.terminate()
            web.wait()
            deadline = time.monotonic() + 60
            while not has_incident(port) and time.monotonic() < deadline:
                time.sleep(0.2)
            take(f"http://127.0.0.1:{port}/", options.out)
        finally:
            web.kill()
            web.wait()
            if up is not None:
                up.send_signal(signal.SIGINT)
                up.wait(30)


if __name__ == "__main__":
    main()
