"""ca_list: lists that OpenSSL makes (`openssl ca -gencrl`), served by nginx, and what strangers put in their place."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.ca_list import CaList
from checks.ca_publication import UnreadableError, judge, kind_of, read
from checks.run import run
from checks.strict import ConfigError
from tests.checks.authority import http
from tests.checks.pki import issue

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from checks.result import Result
    from tests.checks.authority import Pki
    from tests.checks.conftest import Site


async def look(url: str, **parameters: Any) -> Result:
    return await run(CaList(**parameters), url, site="s", node="n")


def der(pem: bytes) -> bytes:
    """Have OpenSSL write a revocation list in DER, as CAs publish theirs."""
    words = ["openssl", "crl", "-outform", "DER"]
    return subprocess.run(words, input=pem, check=True, capture_output=True, timeout=60).stdout


def p7b(pem: bytes, form: str = "DER") -> bytes:
    """Have OpenSSL pack certificates as PKCS #7."""
    words = ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", form]
    return subprocess.run(words, input=pem, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(scope="module")
def week(pki: Pki) -> bytes:
    """Return a list in PEM that is good for a week."""
    return pki.crl("-crldays", "7")


async def test_a_list_is_whole_genuine_and_in_date(pki: Pki, site: Site, week: bytes) -> None:
    result = await look(site.put("ca.crl", der(week)), issuer_file=pki.issuer_file)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    absent = {
        *("dns_seconds", "tls_seconds", "https_certificate_expiry_days"),
        *("certificates", "certificate_expiry_days"),
    }
    assert set(metrics) == set(CaList.metrics) - absent
    assert (metrics["success"], metrics["revoked_total"], metrics["signature_valid"]) == (1, 1, 1)
    assert metrics["next_update_seconds"] == pytest.approx(7 * 86_400, abs=600)
    assert metrics["age_seconds"] == pytest.approx(0, abs=600)
    assert metrics["size_bytes"] == len(der(week))
    [note] = result.notes
    assert note.startswith("revocation list of CN=Intermediate of the tests, made on ")


async def test_a_list_may_be_pem_and_elsewhere(site: Site, week: bytes) -> None:
    site.put("pem.crl", week)
    result = await look(f"{site.url}moved/pem.crl")
    assert (result.reason, result.metrics["redirects"], result.metrics["revoked_total"]) == (None, 1, 1)
    assert "signature_valid" not in result.metrics, "without a CA there is nothing to judge the signature by"


async def test_an_overdue_list_says_since_when(pki: Pki, site: Site) -> None:
    old = pki.crl("-crl_lastupdate", "20250101000000Z", "-crl_nextupdate", "20250108103000Z")
    result = await look(site.put("old.crl", old), issuer_file=pki.issuer_file)
    assert result.reason == "the list is overdue: the next one was due on 2025-01-08 10:30 UTC"
    due = (datetime.now(UTC) - datetime(2025, 1, 8, 10, 30, tzinfo=UTC)).total_seconds()
    assert result.metrics["next_update_seconds"] == pytest.approx(-due, abs=600)
    assert (result.metrics["success"], result.metrics["signature_valid"]) == (0, 1)
    early = pki.crl("-crl_lastupdate", "20480101000000Z", "-crl_nextupdate", "20480108000000Z")
    result = await look(site.put("early.crl", early))
    assert result.reason == "the list is of the future: 2048-01-01 00:00 UTC"


async def test_a_list_that_somebody_else_signed_is_forged(pki: Pki, site: Site) -> None:
    namesake = site.put("namesake.crl", pki.crl("-crldays", "7", signer=issue("Intermediate of the tests", ca=True)))
    forged = await look(namesake, issuer_file=pki.issuer_file)
    other = await look(
        site.put("other.crl", pki.crl("-crldays", "7", signer=issue("Other", ca=True))), issuer_file=pki.issuer_file
    )
    trusting = await look(namesake)
    words = "the signature of the list is wrong: the list is forged or damaged, or the CA has a new key"
    assert (forged.reason, forged.metrics["signature_valid"], forged.metrics["success"]) == (words, 0, 0)
    assert other.reason == "the list is of CN=Other, not of CN=Intermediate of the tests (issuer_file)"
    assert trusting.metrics["success"] == 1


async def test_an_old_ca_that_signs_with_sha1_is_not_called_forged(pki: Pki, site: Site) -> None:
    result = await look(site.put("sha1.crl", pki.crl("-crldays", "7", "-md", "sha1")), issuer_file=pki.issuer_file)
    assert (result.reason, result.metrics["signature_valid"]) == (None, 1)


async def test_everything_that_is_wrong_with_a_list_is_said_at_once(pki: Pki, site: Site) -> None:
    old = pki.crl(
        "-crl_lastupdate", "20250101000000Z", "-crl_nextupdate", "20250108000000Z", signer=issue("Other", ca=True)
    )
    result = await look(site.put("worst.crl", old), issuer_file=pki.issuer_file)
    assert result.reason == (
        "the list is overdue: the next one was due on 2025-01-08 00:00 UTC; "
        "the list is of CN=Other, not of CN=Intermediate of the tests (issuer_file)"
    )
    assert len(result.notes) == 1


async def test_who_may_not_sign_lists_signs_none(pki: Pki, site: Site, tmp_path: Path) -> None:
    server = issue("Only a server", ca=False, signs_lists=False)
    (tmp_path / "server.pem").write_bytes(server.pem)
    url = site.put("server.crl", pki.crl("-crldays", "7", signer=server))
    result = await look(url, issuer_file=str(tmp_path / "server.pem"))
    assert result.reason == "the list is signed by CN=Only a server, whose certificate is not for signing lists"
    assert result.metrics["signature_valid"] == 0


@pytest.mark.parametrize("form", ["crt", "cer", "pem", "p7b", "p7b.pem"])
async def test_certificates_are_read_in_every_form_that_cas_publish(pki: Pki, site: Site, form: str) -> None:
    both = pki.middle.pem + pki.root.pem
    contents = {
        "crt": pki.middle.certificate.public_bytes(Encoding.DER),
        "cer": pki.middle.pem,
        "pem": b"Our certificates:\r\n" + both.replace(b"\n", b"\r\n"),
        "p7b": p7b(both),
        "p7b.pem": p7b(both, "PEM"),
    }
    result = await look(site.put(f"ca.{form}", contents[form]), issuer_file=pki.ca_file)
    assert (result.reason, result.error) == (None, None)
    assert result.metrics["certificates"] == (1 if form in ("crt", "cer") else 2)
    assert result.metrics["certificate_expiry_days"] == pytest.approx(300, abs=0.1)
    assert (result.metrics["success"], result.metrics["signature_valid"]) == (1, 1)
    assert result.notes[0].startswith("certificate of CN=Intermediate of the tests until ")


async def test_the_first_certificate_to_expire_decides(pki: Pki, site: Site) -> None:
    dead = issue("Dead CA", ca=True, days=-3)
    result = await look(site.put("all.crt", pki.root.pem + dead.pem), issuer_file=pki.ca_file)
    assert result.reason == (
        "the certificate of CN=Dead CA expired 3.0 days ago; "
        "the certificate of CN=Dead CA was not issued by issuer_file's CA"
    )
    assert result.metrics["certificate_expiry_days"] == pytest.approx(-3, abs=0.1)
    assert (result.metrics["success"], result.metrics["signature_valid"]) == (0, 0)


async def test_many_certificates_are_counted_and_a_few_named(pki: Pki, site: Site) -> None:
    result = await look(site.put("many.pem", pki.root.pem * 25))
    assert result.metrics["certificates"] == 25
    assert (len(result.notes), result.notes[-1]) == (11, "and 15 more")


async def test_a_half_loaded_list_is_said(site: Site, serve: Any, week: bytes) -> None:
    whole = der(week)
    half = len(whole) // 2
    left_behind = await look(site.put("half.crl", whole[:half]))
    assert left_behind.reason == f"it is cut short: {half} of {len(whole)} bytes are there"
    assert left_behind.metrics["size_bytes"] == half
    pem = await look(site.put("half-pem.crl", week[: len(week) // 2]))
    assert pem.reason == "it is cut short: the line that ends its X509 CRL is missing"

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode() + whole[:half])
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with serve(hang_up) as port:
        broken = await look(f"http://127.0.0.1:{port}/ca.crl")
    assert broken.reason is not None
    assert broken.reason.startswith("the response is not whole: ")
    assert (broken.metrics["size_bytes"], broken.metrics["success"]) == (half, 0)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.crl", b"\r\n<!DOCTYPE html><title>Bao tri", "this is a web page, not a revocation list"),
        ("a.crt", b"\xef\xbb\xbf<html>", "this is a web page, not a certificate"),
        ("a", b"<html>", "this is a web page, not a revocation list or a certificate"),
        ("b.crl", b"", "this is empty, not a revocation list"),
        ("c.crl", b"not found \x1b[2J\n", "this is not a revocation list: 15 bytes that begin 'not found ?[2J?'"),
        ("d.crl", b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n",
         "this is a PEM file of CERTIFICATE REQUEST, not a revocation list"),
        ("e.crl", b"-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n",
         "this is a PEM file whose X509 CRL is damaged"),
        ("f.crl", b"\x30\x03\x02\x01\x01", "this is not a revocation list: 5 bytes that begin "),
    ],
)  # fmt: skip
async def test_what_is_no_list_is_said_in_words(site: Site, name: str, content: bytes, reason: str) -> None:
    result = await look(site.put(name, content))
    assert result.error is None
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert "\x1b" not in result.reason
    assert (result.metrics["success"], result.metrics["status_code"]) == (0, 200)


async def test_a_certificate_where_a_list_should_be_is_said(pki: Pki, site: Site, week: bytes) -> None:
    assert (await look(site.put("cert.crl", pki.root.pem))).reason == "this is a certificate, not a revocation list"
    assert (await look(site.put("list.crt", der(week)))).reason == "this is a revocation list, not a certificate"
    assert (await look(site.put("either", der(week)))).metrics["success"] == 1
    assert [kind_of(path) for path in ("/a.CRL", "/a.crl?x=1", "/a.p7b", "/a.pem", "/")] == [
        *("list", "list", "certificates"),
        *(None, None),
    ]


async def test_a_list_that_is_not_there_says_the_status(site: Site) -> None:
    result = await look(f"{site.url}none.crl")
    assert (result.reason, result.metrics["status_code"]) == ("HTTP status 404, expected 200", 404)


async def test_a_list_without_end_is_not_read_to_its_end(serve: Any) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\x30\x84\x7f\xff\xff\xff")
        while not writer.is_closing():
            writer.write(b"\x30" * 65_536)
            await writer.drain()

    async with serve(pour) as port:
        result = await look(f"http://127.0.0.1:{port}/ca.crl", max_body_bytes=1_000_000)
    assert result.reason == "it is longer than max_body_bytes, 1000000 bytes: only so much was read"
    assert result.metrics["size_bytes"] == 1_000_000


async def test_a_server_that_drips_ends_in_time(serve: Any) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for _ in range(900):
            writer.write(b"\x30")
            await writer.drain()
            await asyncio.sleep(0.3)

    async with serve(drip) as port:
        result = await look(f"http://127.0.0.1:{port}/ca.crl", timeout_seconds=4)
    assert result.reason == "the response was not complete within 4 s"
    assert result.metrics["size_bytes"] > 0


async def test_the_certificate_of_https_is_told_apart_from_the_published_one(
    pki: Pki, serve: Any, ca: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serve(http(pki.middle.pem), ssl=context) as port:
        result = await look(f"https://127.0.0.1:{port}/ca.crt", ca_file=str(tmp_path / "ca.pem"))
        refused = await look(f"https://127.0.0.1:{port}/ca.crt")
    assert result.metrics["certificate_expiry_days"] == pytest.approx(300, abs=0.1)
    assert result.metrics["https_certificate_expiry_days"] > 0
    assert refused.reason is not None
    assert refused.reason.startswith("the certificate is not accepted: ")
    assert "https_certificate_expiry_days" in refused.metrics
    assert "certificate_expiry_days" not in refused.metrics


async def test_nobody_there_is_a_measurement(free_tcp_port: int) -> None:
    result = await look(f"http://127.0.0.1:{free_tcp_port}/ca.crl")
    assert (result.reason, result.metrics["success"]) == ("connection refused", 0)


async def test_files_and_targets_that_cannot_be_used_are_our_errors(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    missing = await look("http://127.0.0.1:9/ca.crl", issuer_file=str(none))
    assert missing.error == f"issuer_file {none} cannot be read: No such file or directory"
    ldap = await look("ldap://ca.example/cn=CA")
    assert ldap.error == "target is not an http:// or https:// address; write http://ca.example/ca.crl"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_body_bytes": 0}, "$.max_body_bytes: expected `int` >= 1024"),
        ({"timeout_seconds": 301}, "$.timeout_seconds: expected `float` <= 300.0"),
        ({"issuer": "x"}, "issuer"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("ca_list", parameters)
    assert message in str(caught.value)


# The readers, on bytes that nobody would send in good faith.


@given(st.data())
def test_no_change_of_bytes_makes_another_list_genuine(pki: Pki, week: bytes, data: st.DataObject) -> None:
    whole = der_once(week)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.binary(max_size=4))
    forged = whole[:at] + changed + whole[at + len(changed) :]
    with contextlib.suppress(UnreadableError):
        report = judge(read(forged, "list"), [pki.middle.certificate], datetime.now(UTC))
        assert all(line.isprintable() for line in (*report.notes, *report.complaints))
        assert forged == whole or report.metrics.get("signature_valid") != 1 or same_list(forged, whole)


_made: dict[bytes, bytes] = {}


def der_once(pem: bytes) -> bytes:
    if pem not in _made:
        _made[pem] = der(pem)
    return _made[pem]


def same_list(one: bytes, other: bytes) -> bool:
    """Tell whether two lists say the same: bytes may differ where the signature does not reach."""
    first, second = (judge(read(each, "list"), [], datetime.now(UTC)) for each in (one, other))
    return first.notes == second.notes and first.metrics["revoked_total"] == second.metrics["revoked_total"]


@given(st.integers(0, 2000), st.integers(0, 4), st.binary(max_size=4), st.sampled_from(["crt", "p7b", "pem"]))
def test_what_is_almost_a_certificate_is_read_or_refused(at: int, without: int, more: bytes, form: str) -> None:
    whole = _CERTIFICATES[form]
    at %= len(whole)
    with contextlib.suppress(UnreadableError):
        found = read(whole[:at] + more + whole[at + without :], "certificates")
        report = judge(found, [_CA.certificate], datetime.now(UTC))
        assert all(line.isprintable() for line in (*report.notes, *report.complaints))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_in_words(noise: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(noise, None)
    assert str(caught.value).isprintable()


_CA = issue("Một CA của thử nghiệm", ca=True)
_CERTIFICATES = {"crt": _CA.certificate.public_bytes(Encoding.DER), "pem": _CA.pem, "p7b": p7b(_CA.pem)}
