"""http_get against a real nginx, and against servers that misbehave as no real one would admit to."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks.http_get import HttpGet
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import trustme
    from conftest import Nginx

    from checks.result import Result


async def get(target: str, **parameters: Any) -> Result:
    return await run(HttpGet(**parameters), target, site="s", node="n")


async def test_a_good_page_has_its_phases_and_they_add_up(nginx: Nginx) -> None:
    result = await get(f"http://127.0.0.1:{nginx.http}/")
    assert result.reason is None
    assert result.error is None
    metrics = result.metrics
    assert (metrics["success"], metrics["status_code"], metrics["redirects"]) == (1, 200, 0)
    assert metrics["response_bytes"] == len("Cổng dịch vụ công Cần Thơ".encode())
    assert metrics["connect_seconds"] + metrics["first_byte_seconds"] <= metrics["total_seconds"]
    assert "tls_seconds" not in metrics
    assert "dns_seconds" not in metrics, "an address needs no resolver"
    assert set(metrics) <= set(HttpGet.metrics)


async def test_tls_tells_the_handshake_and_how_long_the_certificate_lasts(nginx: Nginx) -> None:
    result = await get(f"https://localhost:{nginx.https}/", ca_file=str(nginx.ca_file), ip_version=4)
    assert result.metrics["success"] == 1
    assert result.metrics["tls_seconds"] > 0
    assert result.metrics["dns_seconds"] > 0
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)


async def test_a_phrase_is_found_however_its_letters_are_composed(nginx: Nginx) -> None:
    target = f"http://127.0.0.1:{nginx.http}/"
    assert (await get(target, expected_phrase="dịch vụ công")).metrics["success"] == 1
    decomposed = "di\u0323ch vu\u0323 co\u0302ng"
    assert (await get(target, expected_phrase=decomposed)).metrics["success"] == 1
    missing = await get(target, expected_phrase="bảo trì")
    assert (missing.metrics["success"], missing.metrics["status_code"]) == (0, 200)
    assert missing.reason == "the phrase 'bảo trì' is not in the response"
    cut = await get(target, expected_phrase="Thơ", max_body_bytes=4)
    assert cut.reason == "the phrase 'Thơ' is not within the first 4 bytes of the response"
    assert cut.metrics["response_bytes"] == 4


async def test_an_unexpected_status_keeps_everything_that_was_measured(nginx: Nginx) -> None:
    result = await get(f"http://127.0.0.1:{nginx.http}/missing")
    assert result.reason == "status 404, expected 200 to 399"
    assert result.metrics["success"] == 0
    assert {"connect_seconds", "first_byte_seconds", "total_seconds", "response_bytes"} <= set(result.metrics)
    assert (await get(f"http://127.0.0.1:{nginx.http}/missing", expected_status=(404,))).metrics["success"] == 1
    wrong = await get(f"http://127.0.0.1:{nginx.http}/", expected_status=(204, 404))
    assert wrong.reason == "status 200, expected 204, 404"


async def test_redirects_are_followed_counted_and_bounded(nginx: Nginx) -> None:
    base = f"http://127.0.0.1:{nginx.http}"
    followed = await get(f"{base}/moved")
    assert (followed.metrics["redirects"], followed.metrics["status_code"]) == (1, 200)
    assert (await get(f"{base}/moved", max_redirects=0)).metrics["status_code"] == 301
    assert (await get(f"{base}/moved", expected_status=(301,))).metrics["redirects"] == 0
    circle = await get(f"{base}/circle", max_redirects=3)
    assert circle.reason == f"more than 3 redirects, the last one to {base}/circle"
    strange = await get(f"{base}/strange")
    assert strange.reason == "redirected to an address that is not an http:// or https:// address"
    secure = await get(f"{base}/secure", ca_file=str(nginx.ca_file))
    assert (secure.metrics["success"], secure.metrics["redirects"]) == (1, 1)
    assert secure.metrics["certificate_expiry_days"] > 29


async def test_secret_headers_reach_the_target_but_nobody_it_redirects_to(nginx: Nginx) -> None:
    secret = {"X-Secret": "s3cret"}
    direct = await get(f"http://127.0.0.1:{nginx.http}/headers", headers=secret, expected_phrase="secret=s3cret ")
    assert direct.metrics["success"] == 1
    elsewhere = f"https://127.0.0.1:{nginx.https}/plain"
    redirected = await get(elsewhere, headers=secret, ca_file=str(nginx.ca_file), expected_phrase="secret= ")
    assert redirected.metrics["success"] == 1


async def test_a_server_name_stands_for_the_host_of_an_address(nginx: Nginx) -> None:
    target = f"https://127.0.0.1:{nginx.https}/"
    good = await get(target, ca_file=str(nginx.ca_file), server_name="localhost", expected_phrase="localhost")
    assert good.metrics["success"] == 1
    other = await get(target, ca_file=str(nginx.ca_file), server_name="portal.example")
    assert other.reason == (
        "the certificate is not accepted: hostname mismatch, certificate is not valid for 'portal.example'"
    )


async def test_a_certificate_that_is_not_accepted_still_tells_its_date(nginx: Nginx) -> None:
    unknown = await get(f"https://127.0.0.1:{nginx.https}/")
    assert unknown.reason == "the certificate is not accepted: unable to get local issuer certificate"
    assert unknown.metrics["success"] == 0
    assert unknown.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    assert "connect_seconds" in unknown.metrics
    assert "first_byte_seconds" not in unknown.metrics
    expired = await get(f"https://127.0.0.1:{nginx.expired}/", ca_file=str(nginx.ca_file))
    assert expired.reason == "the certificate is not accepted: certificate has expired"
    assert expired.metrics["certificate_expiry_days"] == pytest.approx(-3, abs=0.1)


async def test_without_verification_any_certificate_serves_and_its_date_is_told(nginx: Nginx) -> None:
    result = await get(f"https://127.0.0.1:{nginx.expired}/", verify_tls=False)
    assert result.metrics["success"] == 1
    assert result.metrics["certificate_expiry_days"] == pytest.approx(-3, abs=0.1)


async def test_a_refused_connection_is_a_measurement(free_tcp_port: int) -> None:
    result = await get(f"http://127.0.0.1:{free_tcp_port}/")
    assert (result.reason, result.error) == ("connection refused", None)
    assert result.metrics == {"success": 0, "redirects": 0}


async def test_a_server_that_says_nothing_fails_in_its_first_byte(serve: Any) -> None:
    async with serve(lambda *_: asyncio.sleep(60)) as port:
        result = await get(f"http://127.0.0.1:{port}/", timeout_seconds=0.5)
    assert result.reason == "no response within 0.5 s"
    assert set(result.metrics) == {"success", "redirects", "connect_seconds"}


async def test_a_server_that_drips_for_ever_ends_at_the_deadline_and_its_phases_are_kept(serve: Any) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serve(drip) as port:
        result = await get(f"http://127.0.0.1:{port}/", timeout_seconds=0.6)
    assert result.reason == "the response was not complete within 0.6 s"
    assert result.metrics["status_code"] == 200
    assert 0 < result.metrics["response_bytes"] < 1000
    assert result.metrics["first_byte_seconds"] > 0
    assert "total_seconds" not in result.metrics


async def test_a_server_that_does_not_shake_hands_fails_in_tls(serve: Any) -> None:
    async with serve(lambda *_: asyncio.sleep(60)) as port:
        result = await get(f"https://127.0.0.1:{port}/", timeout_seconds=0.5)
    assert result.reason == "no TLS handshake within 0.5 s"
    assert set(result.metrics) == {"success", "redirects", "connect_seconds"}


async def test_a_body_beyond_the_bound_is_not_read(serve: Any) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serve(flood) as port:
        result = await get(f"http://127.0.0.1:{port}/", max_body_bytes=100_000)
    assert (result.metrics["success"], result.metrics["response_bytes"]) == (1, 100_000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the server closed the connection without a response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP: illegal status line"),
        (b"\x00" * 64 + b"\r\n\r\n", "the answer is not HTTP: illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "the response is not whole: peer closed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "the answer is not HTTP: Receive buffer too long"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[bad/\r\n\r\n", "redirected to an address that"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n", "status 500, expected 200 to 399"),
    ],
)
async def test_whatever_comes_back_is_said_in_words(serve: Any, answer: bytes, reason: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with serve(reply) as port:
        result = await get(f"http://127.0.0.1:{port}/")
    assert result.error is None
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert result.metrics["success"] == 0


async def test_tls_towards_a_plain_port_says_so(nginx: Nginx) -> None:
    result = await get(f"https://127.0.0.1:{nginx.http}/")
    assert result.reason == "the server does not speak TLS there"


async def test_a_server_that_asks_for_a_client_certificate_is_a_reason_not_a_crash(serve: Any, ca: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    async with serve(lambda *_: asyncio.sleep(60), ssl=context) as port:
        result = await get(f"https://127.0.0.1:{port}/", verify_tls=False, timeout_seconds=5)
    assert result.error is None
    assert result.reason
    assert result.metrics["success"] == 0


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("portal.example", "target is not an http:// or https:// address; write https://portal.example/path"),
        ("ftp://portal.example/", "target is not an http:// or https:// address"),
        ("http:///path", "target has no host"),
        ("http://a:99999/", "target has a port that is not a number from 1 to 65535"),
        ("http://a b/", "target has a space in it"),
        ("http://[::1/", "target has brackets in its host that hold no IPv6 address"),
    ],
)
async def test_a_target_that_is_no_address_is_our_error(target: str, error: str) -> None:
    result = await get(target)
    assert result.error is not None
    assert result.error.startswith(error)
    assert result.metrics == {}


async def test_a_password_in_the_target_is_refused_and_not_repeated() -> None:
    result = await get("https://user:hunter2@127.0.0.1/")
    assert result.error is not None
    assert "headers" in result.error
    assert "hunter2" not in result.error


async def test_a_ca_file_that_cannot_be_used_is_our_error(tmp_path: Path) -> None:
    missing = await get("https://127.0.0.1:9/", ca_file=str(tmp_path / "none.pem"))
    assert missing.error == f"ca_file {tmp_path}/none.pem cannot be read: No such file or directory"
    (tmp_path / "bad.pem").write_text("no certificate", encoding="utf-8")
    bad = await get("https://127.0.0.1:9/", ca_file=str(tmp_path / "bad.pem"))
    assert bad.error == f"ca_file {tmp_path}/bad.pem holds no certificate in PEM form"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expected_status": [99]}, "$.expected_status[0]: expected `int` >= 100"),
        ({"expected_status": 200}, "$.expected_status: expected `array`, got `int`"),
        ({"headers": {"bad name": "x"}}, "headers: 'bad name' cannot be the name of a header"),
        ({"headers": {"X": "s3cret\n"}}, "headers: the value of X has a line feed or another control character"),
        ({"max_redirects": 21}, "$.max_redirects: expected `int` <= 20"),
        ({"max_body_bytes": -1}, "$.max_body_bytes: expected `int` >= 0"),
        ({"timeout_seconds": 0}, "$.timeout_seconds: expected `float` > 0.0"),
        ({"ip_version": 5}, "$.ip_version: 5 is not one of: 4, 6"),
        ({"server_name": "a b"}, "server_name 'a b' is not a host name; write portal.example"),
        ({"expected_phrase": " "}, "expected_phrase is empty: leave it out, or write words that the page shows"),
        ({"verify": False}, "$.verify: is unknown; there are: ca_file, expected_phrase"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("http_get", parameters)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
