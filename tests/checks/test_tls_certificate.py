"""tls_certificate against real TLS servers (openssl s_server) and a real responder (openssl ocsp)."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from checks import certificate_chain as chains
from checks import registry
from checks.ocsp import OcspError, read, request, responder_url
from checks.run import run
from checks.strict import ConfigError
from checks.tls_certificate import TlsCertificate
from tests.checks.authority import encode_status, http, responder, signed_answer
from tests.checks.conftest import ROOT, free_port, wait_for_port
from tests.checks.pki import Identity, issue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from checks.result import Result
    from tests.checks.authority import Pki


async def look(port: int, **parameters: Any) -> Result:
    return await run(TlsCertificate(**parameters), f"127.0.0.1:{port}", site="s", node="n")


@contextlib.contextmanager
def tls_server(folder: Path, identity: Identity, chain: bytes | None = None) -> Iterator[int]:
    """Run `openssl s_server` with a certificate and the chain it sends; give its port."""
    port = free_port()
    certificate, key = identity.write(folder, f"server-{port}")
    words = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-quiet"]
    above = identity.intermediates if chain is None else chain
    if above:
        (folder / f"chain-{port}.pem").write_bytes(above)
        words += ["-cert_chain", str(folder / f"chain-{port}.pem")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdin
        process.stdin.close()


async def test_a_good_certificate_tells_everything(pki: Pki) -> None:
    with tls_server(pki.folder, pki.good) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    assert set(metrics) == set(TlsCertificate.metrics) - {"dns_seconds", "starttls_seconds"}
    assert {name: metrics[name] for name in ("success", "chain_trusted", "name_matches", "ocsp_good")} == {
        "success": 1,
        "chain_trusted": 1,
        "name_matches": 1,
        "ocsp_good": 1,
    }
    assert (metrics["chain_certificates"], metrics["tls_version"]) == (2, 1.3)
    assert metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    assert metrics["ocsp_next_update_seconds"] == pytest.approx(86_400, abs=600)
    assert metrics["ocsp_response_seconds"] > 0


async def test_an_expired_certificate_says_by_how_long(pki: Pki) -> None:
    with tls_server(pki.folder, pki.issue(days=-3)) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == "the certificate of CN=server expired 3.0 days ago"
    assert result.metrics["certificate_expiry_days"] == pytest.approx(-3, abs=0.1)
    assert (result.metrics["success"], result.metrics["chain_trusted"], result.metrics["name_matches"]) == (0, 0, 1)
    assert "ocsp_good" not in result.metrics, "a stranger's certificate sends us nowhere"


async def test_the_first_of_the_chain_to_expire_is_told_apart_from_the_servers_own(pki: Pki) -> None:
    soon = issue("Old intermediate", pki.root, ca=True, days=5)
    with tls_server(pki.folder, issue("server", soon, hosts=("127.0.0.1",))) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    assert result.metrics["chain_expiry_days"] == pytest.approx(5, abs=0.1)
    assert result.metrics["success"] == 1
    assert "ocsp_good" not in result.metrics, "this certificate names no responder"
    past = issue("Dead intermediate", pki.root, ca=True, days=-2)
    with tls_server(pki.folder, issue("server", past, hosts=("127.0.0.1",))) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == "the certificate of CN=Dead intermediate expired 2.0 days ago"


async def test_a_certificate_for_another_name_says_for_whom_it_is(pki: Pki) -> None:
    with tls_server(pki.folder, pki.issue(("portal.example", "*.mail.example", "10.92.0.1", "a.example"))) as port:
        result = await look(port, ca_file=pki.ca_file, ocsp=False)
        found = await look(port, ca_file=pki.ca_file, ocsp=False, server_name="imap.mail.example")
        lenient = await look(port, ca_file=pki.ca_file, ocsp=False, verify_tls=False)
    words = "the certificate is for portal.example, *.mail.example, a.example and 1 more, not for 127.0.0.1"
    assert result.reason == words
    assert (result.metrics["name_matches"], result.metrics["chain_trusted"], result.metrics["success"]) == (0, 1, 0)
    assert (found.metrics["success"], found.metrics["name_matches"]) == (1, 1)
    assert (lenient.metrics["success"], lenient.metrics["name_matches"]) == (1, 0)


async def test_a_certificate_that_signed_itself_is_not_trusted_but_its_dates_are_told(pki: Pki) -> None:
    with tls_server(pki.folder, issue("box", hosts=("127.0.0.1",))) as port:
        result = await look(port, ca_file=pki.ca_file)
        lenient = await look(port, ca_file=pki.ca_file, verify_tls=False)
    assert result.reason == "the certificate is not accepted: self-signed certificate"
    assert (result.metrics["chain_trusted"], result.metrics["chain_certificates"]) == (0, 1)
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    assert (lenient.metrics["success"], lenient.metrics["chain_trusted"]) == (1, 0)


async def test_everything_that_is_wrong_is_said_at_once(pki: Pki) -> None:
    with tls_server(pki.folder, issue("box", hosts=("box.example",), days=-1)) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == (
        "the certificate of CN=box expired 1.0 days ago; the certificate is not accepted: self-signed certificate; "
        "the certificate is for box.example, not for 127.0.0.1"
    )


async def test_a_chain_that_goes_round_in_a_circle_is_refused(pki: Pki) -> None:
    first, second = issue("A", ca=True), issue("B", ca=True)
    a = issue("A", second, ca=True)
    b = issue("B", first, ca=True)
    with tls_server(pki.folder, issue("server", first, hosts=("127.0.0.1",)), a.pem + b.pem + a.pem) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason is not None
    assert result.reason.startswith("the certificate is not accepted: ")
    assert (result.metrics["chain_trusted"], result.metrics["chain_certificates"]) == (0, 4)


async def test_an_absurdly_long_chain_is_said_and_not_read_to_its_end(pki: Pki) -> None:
    with tls_server(pki.folder, pki.good, pki.middle.pem * 30) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == "the server sends 31 certificates, of which 20 were read"
    assert (result.metrics["success"], result.metrics["chain_certificates"]) == (0, 31)
    with tls_server(pki.folder, pki.good, pki.middle.pem * 1000) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == "the TLS handshake failed: excessive message size"


async def test_a_revoked_certificate_says_when_and_why(pki: Pki) -> None:
    with tls_server(pki.folder, pki.revoked) as port:
        result = await look(port, ca_file=pki.ca_file)
        unasked = await look(port, ca_file=pki.ca_file, ocsp=False)
    assert result.reason == "the certificate was revoked on 2025-03-01 (keyCompromise)"
    assert (result.metrics["ocsp_good"], result.metrics["success"], result.metrics["chain_trusted"]) == (0, 0, 1)
    assert unasked.metrics["success"] == 1
    assert "ocsp_good" not in unasked.metrics


async def test_a_certificate_that_the_responder_never_heard_of_is_not_good(pki: Pki) -> None:
    with tls_server(pki.folder, pki.issue()) as port:
        result = await look(port, ca_file=pki.ca_file)
    assert result.reason == "the certificate is unknown to the OCSP responder"
    assert (result.metrics["ocsp_good"], result.metrics["success"]) == (0, 0)


async def test_a_responder_that_is_down_leaves_revocation_unmeasured(pki: Pki, free_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{free_tcp_port}/"
    with tls_server(pki.folder, pki.good) as port:
        result = await look(port, ca_file=pki.ca_file, ocsp_url=url)
    assert result.reason == f"nothing is known about revocation: the OCSP responder {url}: connection refused"
    assert "ocsp_good" not in result.metrics
    assert (result.metrics["success"], result.metrics["chain_trusted"]) == (0, 1)


async def test_an_answer_signed_by_another_ca_is_not_believed(pki: Pki) -> None:
    forger = issue("Intermediate of the tests", ca=True)
    stranger = issue("Stranger", ca=True)
    for signer, words in (
        (forger, "the signature of its answer is wrong: the answer is forged or damaged"),
        (stranger, "its answer is signed by CN=Stranger, whom the certificate's issuer did not authorise"),
        (pki.good, "its answer is signed by CN=server, whose certificate is not for OCSP"),
        (
            issue("Late", pki.middle, usage=ExtendedKeyUsageOID.OCSP_SIGNING, days=-1),
            "its answer is signed by CN=Late, whose certificate is not valid now",
        ),
    ):
        with tls_server(pki.folder, pki.good) as port, responder(pki.folder, signer, free_port()) as url:
            result = await look(port, ca_file=pki.ca_file, ocsp_url=url)
        assert result.reason == f"nothing is known about revocation: the OCSP responder {url}: {words}"
        assert "ocsp_good" not in result.metrics


async def test_an_answer_of_whom_the_issuer_authorised_is_believed(pki: Pki) -> None:
    delegate = issue("Responder", pki.middle, usage=ExtendedKeyUsageOID.OCSP_SIGNING)
    with tls_server(pki.folder, pki.good) as port, responder(pki.folder, delegate, free_port()) as url:
        result = await look(port, ca_file=pki.ca_file, ocsp_url=url)
    assert (result.reason, result.metrics["ocsp_good"]) == (None, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda pki: signed_answer(pki, hours=-48), "its answer is out of date since "),
        (lambda pki: signed_answer(pki, hours=48), "its answer is of the future: "),
        (lambda pki: signed_answer(pki, about=pki.revoked), "its answer is about another certificate"),
        (lambda pki: signed_answer(pki, nonce=b"of yesterday"), "its answer carries another nonce than the request"),
        (lambda _: b"hello", "its answer is not an OCSP response that can be read"),
        (lambda _: b"", "its answer is not an OCSP response that can be read"),
        (
            lambda _: encode_status(ocsp.OCSPResponseStatus.UNAUTHORIZED),
            "it does not answer for this certificate (unauthorized)",
        ),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.TRY_LATER), "it asks to try later"),
    ],
)
async def test_an_answer_that_proves_nothing_is_said(
    pki: Pki, serve: Any, make: Callable[[Pki], bytes], words: str
) -> None:
    async with serve(http(make(pki))) as web:
        with tls_server(pki.folder, pki.good) as port:
            result = await look(port, ca_file=pki.ca_file, ocsp_url=f"http://127.0.0.1:{web}/")
    assert result.reason is not None
    assert f"/: {words}" in result.reason
    assert "ocsp_good" not in result.metrics


async def test_a_responder_that_speaks_no_ocsp_or_hangs_is_named(pki: Pki, serve: Any) -> None:
    with tls_server(pki.folder, pki.good) as port:
        async with serve(http(b"", "503 Busy")) as web:
            busy = await look(port, ca_file=pki.ca_file, ocsp_url=f"http://127.0.0.1:{web}/")
        async with serve(lambda *_: asyncio.sleep(60)) as web:
            hung = await look(port, ca_file=pki.ca_file, ocsp_url=f"http://127.0.0.1:{web}/", timeout_seconds=4)
    assert busy.reason is not None
    assert busy.reason.endswith("it answers with HTTP status 503")
    assert hung.reason is not None
    assert "no response within" in hung.reason or "no answer from the OCSP responder within" in hung.reason
    assert hung.metrics["chain_trusted"] == 1, "what was measured before is kept"


@pytest.mark.parametrize(
    ("starttls", "script", "reason"),
    [
        ("smtp", [b"220 hi\r\n", b"250-mx\r\n250 SIZE\r\n"], "the server offers no STARTTLS"),
        ("smtp", [b"554 go away\r\n"], "the greeting is 554 go away, expected 220"),
        (
            "smtp",
            [b"220 hi\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"454 not now\r\n"],
            "STARTTLS is answered 454 not now, expected 220",
        ),
        (
            "smtp",
            [b"220 hi\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n250 slipped in\r\n"],
            "the server goes on talking in plain text after it agreed to TLS",
        ),
        ("imap", [b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1\r\nn1 OK\r\n"], "the server offers no STARTTLS"),
        ("imap", [b"* BYE full\r\n"], "the greeting is BYE full, expected OK"),
        ("imap", [b"SSH-2.0-x\x1b[2J\r\n"], "the greeting is "),
        ("smtp", [b"x" * 9000], "the server sends a line of more than 8192 bytes"),
        ("smtp", [b""], "the server closed the connection"),
        ("none", [b"220 hi\r\n"], "the server does not speak TLS there"),
    ],
)
async def test_what_goes_wrong_before_tls_is_said(starttls: Any, script: list[bytes], reason: str, serve: Any) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in script:
            writer.write(line)
            await writer.drain()
            if line:
                await reader.read(1000)

    async with serve(play) as port:
        result = await look(port, starttls=starttls)
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert "\x1b" not in result.reason
    assert result.metrics["success"] == 0


async def test_a_silent_server_fails_in_the_phase_that_it_holds_up(serve: Any) -> None:
    async with serve(lambda *_: asyncio.sleep(60)) as port:
        tls = await look(port, timeout_seconds=4)
        mail = await look(port, timeout_seconds=4, starttls="imap")
    assert tls.reason == "no TLS handshake within 4 s"
    assert mail.reason == "no answer to STARTTLS (imap) within 4 s"
    assert set(tls.metrics) == {"success", "connect_seconds"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"starttls": "ftp"}, "$.starttls: 'ftp' is not one of: none, smtp, imap"),
        ({"ocsp_url": "ldap://x/"}, "ocsp_url is not an http:// or https:// address; write http://ocsp.example/"),
        ({"ocsp": "yes"}, "$.ocsp: expected `bool`, got `str`"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("tls_certificate", parameters)
    assert message in str(caught.value)


async def test_a_target_without_a_port_is_our_error() -> None:
    result = await run(TlsCertificate(), "portal.example", site="s", node="n")
    assert result.error == "target 'portal.example' is not host:port; write 10.0.0.1:443 or [fd00::1]:443"


@pytest.mark.parametrize("name", ["tls_certificate", "timestamp_authority", "ocsp_responder", "ca_list"])
def test_an_agent_that_looks_at_certificates_never_holds_the_library_that_reads_them(name: str) -> None:
    program = f"import sys; from checks import registry; registry.load({name!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert f"checks.{name}" in loaded.stdout
    assert "cryptography" not in loaded.stdout


# The readers, on bytes that nobody would send in good faith.


@pytest.fixture(scope="module")
def revoked_answer(pki: Pki) -> bytes:
    asked = request(pki.revoked.certificate, pki.middle.certificate)
    (pki.folder / "asked").write_bytes(asked.public_bytes(Encoding.DER))
    words = ["openssl", "ocsp", "-index", str(pki.folder / "index.txt"), "-CA", str(pki.folder / "middle.pem")]
    words += ["-rsigner", str(pki.folder / "middle.pem"), "-rkey", str(pki.folder / "m.key"), "-ndays", "1"]
    (pki.folder / "m.key").write_bytes(pki.middle.key_pem)
    words += ["-reqin", str(pki.folder / "asked"), "-respout", str(pki.folder / "answered"), "-resp_no_certs"]
    subprocess.run(words, check=True, capture_output=True)
    return (pki.folder / "answered").read_bytes()


@given(st.data())
def test_no_change_of_bytes_makes_a_revoked_certificate_good(
    pki: Pki, revoked_answer: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(revoked_answer) - 1))
    changed = data.draw(st.binary(max_size=4))
    forged = revoked_answer[:at] + changed + revoked_answer[at + len(changed) :]
    asked = request(pki.revoked.certificate, pki.middle.certificate)
    with contextlib.suppress(OcspError):
        answer = read(forged, asked, pki.middle.certificate, datetime.now(UTC))
        assert answer.words == "the certificate was revoked on 2025-03-01 (keyCompromise)"


@given(st.binary(max_size=400))
def test_random_bytes_are_no_answer(pki: Pki, noise: bytes) -> None:
    asked = request(pki.good.certificate, pki.middle.certificate)
    with pytest.raises(OcspError):
        read(noise, asked, pki.middle.certificate, datetime.now(UTC))


@pytest.mark.parametrize(
    ("offered", "wanted", "matches"),
    [
        ("portal.example", "portal.example", True),
        ("Portal.Example", "portal.EXAMPLE.", True),
        ("*.example.vn", "mail.example.vn", True),
        ("*.example.vn", "a.mail.example.vn", False),
        ("*.example.vn", "example.vn", False),
        ("*.vn", "vn", False),
        ("xn--cnth-vqa85s.example", "cầnth.example", False),
        ("10.92.0.1", "10.92.0.1", True),
        ("10.92.0.1", "10.92.0.2", False),
        ("fd00::1", "fd00:0::1", True),
        ("*", "localhost", False),
    ],
)
def test_a_name_is_matched_label_by_label(offered: str, wanted: str, matches: bool) -> None:  # noqa: FBT001  (a table)
    assert chains.matches(issue("x", hosts=(offered,)).certificate, wanted) is matches


def test_a_common_name_alone_is_no_name() -> None:
    assert not chains.matches(issue("portal.example").certificate, "portal.example")
    assert chains.whom_for(issue("portal.example").certificate) == "no host name at all"


_DER = issue("server", hosts=("a.example", "10.0.0.1"), ocsp_url="http://ocsp.example/").certificate.public_bytes(
    Encoding.DER
)


@given(st.integers(0, len(_DER) - 1), st.integers(0, 4), st.binary(max_size=4))
def test_what_is_almost_a_certificate_is_read_or_refused(at: int, without: int, more: bytes) -> None:
    with contextlib.suppress(ValueError):
        certificate = chains.load(_DER[:at] + more + _DER[at + without :])
        assert chains.whom_for(certificate).isprintable()
        assert chains.owner(certificate).isprintable()
        assert isinstance(chains.matches(certificate, "a.example"), bool)
        assert (responder_url(certificate) or "http").startswith("http")
