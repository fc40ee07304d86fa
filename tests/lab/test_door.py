"""The door to the board: who is let through, with what; and the way to a real TLS server inside the lab."""

from __future__ import annotations

import http.client
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.checks.pki import issue
from tests.lab.door import admitted
from tests.running import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.client import Lab

PORT = 8080
SERVER = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers.get("Authorization", "nobody").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/server.pem", "/root/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def head(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode()


def test_a_browser_that_is_nobody_comes_in_as_a_viewer_for_one_request() -> None:
    passed = admitted(head(f"Host: 127.0.0.1:{PORT}", "Connection: keep-alive"), PORT, "secret")
    assert passed == head(f"Host: 127.0.0.1:{PORT}", "Authorization: Token secret", "Connection: close")


@pytest.mark.parametrize("own", ["Authorization: Token mine", "Cookie: session=mine"])
def test_whoever_signed_in_stays_who_they_are(own: str) -> None:
    passed = admitted(head(f"Host: localhost:{PORT}", own), PORT, "secret")
    assert passed is not None
    assert own.encode() in passed
    assert b"secret" not in passed


@pytest.mark.parametrize("lines", [["Host: evil.example"], [f"Host: evil.example:{PORT}"], [], ["Host: 127.0.0.1:1"]])
def test_a_request_that_names_another_host_is_not_let_through(lines: list[str]) -> None:
    assert admitted(head(*lines), PORT, "secret") is None


def test_the_board_is_seen_on_loopback_through_tls_that_the_door_has_checked(whole: Lab, tmp_path: Path) -> None:
    authority = issue("Province", ca=True)
    address = whole.ask("status")["hosts"]["data-centre"]["address"]
    issue("collector", authority, hosts=(address,)).write(tmp_path, "server")
    disk = whole.places.disks / "data-centre" / "root" / "root"
    for name in ("server.pem", "server.key"):
        shutil.copy(tmp_path / name, disk / name)
    whole.run("data-centre", "systemd-run", "--unit=board", "python3", "-c", SERVER)
    try:
        until(lambda: ":8443" in whole.run("data-centre", "ss", "-ltn"), what="the server")
        port = whole.ask("open", host="data-centre", authority=authority.pem.decode(), token="viewer-token")
        assert ask(port) == (200, b"Token viewer-token")
        strange = issue("Somebody else", ca=True)
        port = whole.ask("open", host="data-centre", authority=strange.pem.decode(), token="viewer-token")
        status, words = ask(port)
        assert status == 502
        assert b"CERTIFICATE_VERIFY_FAILED" in words
        assert ask(port, "evil.example")[0] == 403
    finally:
        whole.run("data-centre", "systemctl", "stop", "board")


def ask(port: int, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
