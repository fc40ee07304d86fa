"""ocsp_responder against real responders (openssl ocsp), and against answers that no honest one gives."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from checks import registry
from checks.ocsp_responder import OcspResponder
from checks.run import run
from checks.strict import ConfigError
from tests.checks.authority import encode_status, http, responder, signed_answer
from tests.checks.conftest import free_port
from tests.checks.pki import issue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from checks.result import Result
    from tests.checks.authority import Pki
    from tests.checks.pki import Identity


async def ask(pki: Pki, url: str | None = None, about: Identity | None = None, **parameters: Any) -> Result:
    identity = about or pki.good
    file = pki.write(identity, f"asked-{identity.certificate.serial_number}.pem")
    check = OcspResponder(**{"certificate_file": file, "issuer_file": pki.issuer_file, **parameters})
    return await run(check, url or pki.ocsp_url, site="s", node="n")


async def test_a_good_certificate_is_answered_by_its_ca_in_measured_steps(pki: Pki) -> None:
    result = await ask(pki)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    absent = {"dns_seconds", "tls_seconds", "certificate_expiry_days", "responder_certificate_expiry_days"}
    assert set(metrics) == set(OcspResponder.metrics) - absent
    assert (metrics["success"], metrics["status"], metrics["status_code"]) == (1, 0, 200)
    assert metrics["next_update_seconds"] == pytest.approx(86_400, abs=600)
    assert metrics["this_update_age_seconds"] == pytest.approx(0, abs=600)
    assert metrics["known_certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    assert metrics["connect_seconds"] + metrics["first_byte_seconds"] <= metrics["response_seconds"]
    assert result.notes == ("the certificate is good, says CN=Intermediate of the tests",)


async def test_a_test_certificate_that_is_revoked_on_purpose_must_be_said_to_be(pki: Pki) -> None:
    wanted = await ask(pki, about=pki.revoked, expected_status="revoked")
    unwanted = await ask(pki, about=pki.revoked)
    forgetful = await ask(pki, about=pki.good, expected_status="revoked")
    assert (wanted.reason, wanted.metrics["success"], wanted.metrics["status"]) == (None, 1, 1)
    assert unwanted.reason == "the certificate was revoked on 2025-03-01 (keyCompromise), expected good"
    assert (unwanted.metrics["success"], unwanted.metrics["status"]) == (0, 1)
    assert "next_update_seconds" in unwanted.metrics
    assert forgetful.reason == "the certificate is good, expected revoked"


async def test_a_certificate_that_the_responder_never_heard_of_is_unknown(pki: Pki) -> None:
    stranger = pki.issue()
    result = await ask(pki, about=stranger)
    assert result.reason == "the certificate is unknown to the OCSP responder, expected good"
    assert (result.metrics["success"], result.metrics["status"]) == (0, 2)
    assert (await ask(pki, about=stranger, expected_status="unknown")).metrics["success"] == 1


async def test_who_signs_in_the_cas_place_is_named_and_its_days_are_counted(pki: Pki) -> None:
    delegate = issue("Responder", pki.middle, usage=ExtendedKeyUsageOID.OCSP_SIGNING, days=9)
    with responder(pki.folder, delegate, free_port()) as url:
        result = await ask(pki, url)
    assert result.metrics["responder_certificate_expiry_days"] == pytest.approx(9, abs=0.1)
    assert result.notes == ("the certificate is good, says CN=Responder",)


async def test_whom_the_ca_did_not_authorise_is_not_believed(pki: Pki) -> None:
    for signer, words in (
        (issue("Intermediate of the tests", ca=True), "the signature of its answer is wrong: the answer is forged"),
        (issue("Stranger", ca=True), "its answer is signed by CN=Stranger, whom the certificate's issuer did not"),
        (pki.issue(), "its answer is signed by CN=server, whose certificate is not for OCSP"),
    ):
        with responder(pki.folder, signer, free_port()) as url:
            result = await ask(pki, url)
        assert result.reason is not None
        assert result.reason.startswith(words)
        assert result.metrics["success"] == 0
        assert not {"status", "next_update_seconds", "this_update_age_seconds"} & set(result.metrics)


async def test_a_signature_of_an_unknown_kind_is_not_called_forged(pki: Pki) -> None:
    key = rsa.generate_private_key(65537, 2048)
    delegate = issue("Responder", pki.middle, usage=ExtendedKeyUsageOID.OCSP_SIGNING, key=key)
    with responder(pki.folder, delegate, free_port()) as url:
        assert (await ask(pki, url)).metrics["success"] == 1
    with responder(pki.folder, delegate, free_port(), "-rsigopt", "rsa_padding_mode:pss") as url:
        result = await ask(pki, url)
    assert result.reason == "its answer is signed in a way that is not known here (1.2.840.113549.1.1.10)"


async def test_a_nonce_is_sent_when_it_is_wanted_and_must_come_back_when_it_is_required(pki: Pki, serve: Any) -> None:
    for nonce in ("none", "optional", "required"):
        assert (await ask(pki, nonce=nonce)).metrics["success"] == 1, nonce
    async with serve(http(signed_answer(pki))) as port:  # an answer made ahead
        made_ahead = await ask(pki, f"http://127.0.0.1:{port}/")
        refused = await ask(pki, f"http://127.0.0.1:{port}/", nonce="required")
    async with serve(http(signed_answer(pki, nonce=b"of yesterday"))) as port:
        replayed = await ask(pki, f"http://127.0.0.1:{port}/")
        unasked = await ask(pki, f"http://127.0.0.1:{port}/", nonce="none")
    assert made_ahead.metrics["success"] == 1
    assert refused.reason == "its answer carries no nonce: it may be an old one, replayed"
    assert replayed.reason == "its answer carries another nonce than the request: an old answer, replayed"
    assert unasked.metrics["success"] == 1, "who sends no nonce has none to compare with"


async def test_an_answer_out_of_date_says_for_how_long_and_not_what_it_said(pki: Pki, serve: Any) -> None:
    async with serve(http(signed_answer(pki, hours=-48))) as port:
        stale = await ask(pki, f"http://127.0.0.1:{port}/")
    async with serve(http(signed_answer(pki, hours=48))) as port:
        early = await ask(pki, f"http://127.0.0.1:{port}/")
    assert stale.reason is not None
    assert stale.reason.startswith("its answer is out of date since ")
    assert stale.metrics["next_update_seconds"] == pytest.approx(-47 * 3600, abs=600)
    assert stale.metrics["this_update_age_seconds"] == pytest.approx(48 * 3600, abs=600)
    assert "status" not in stale.metrics, "what was true two days ago is not known to be true"
    assert early.reason is not None
    assert early.reason.startswith("its answer is of the future: ")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda pki: signed_answer(pki, about=pki.revoked), "its answer is about another certificate"),
        (lambda _: b"hello", "its answer is not an OCSP response that can be read"),
        (lambda _: b"", "its answer is not an OCSP response that can be read"),
        (lambda pki: signed_answer(pki)[:-20], "its answer is not an OCSP response that can be read"),
        (lambda _: b"\n<!DOCTYPE html><p>Busy", "it answers with a web page, not with an OCSP response"),
        (lambda _: b"\x30" * 70_000, "its answer is longer than 65536 bytes, which no OCSP response is"),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.MALFORMED_REQUEST), "it could not read the request"),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.INTERNAL_ERROR), "it has an internal error"),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.TRY_LATER), "it asks to try later"),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.SIG_REQUIRED), "it wants signed requests"),
        (lambda _: encode_status(ocsp.OCSPResponseStatus.UNAUTHORIZED), "it does not answer for this certificate"),
    ],
)
async def test_an_answer_that_proves_nothing_is_said(
    pki: Pki, serve: Any, make: Callable[[Pki], bytes], words: str
) -> None:
    async with serve(http(make(pki))) as port:
        result = await ask(pki, f"http://127.0.0.1:{port}/")
    assert result.reason is not None
    assert result.reason.startswith(words)
    assert result.metrics["success"] == 0
    assert "status" not in result.metrics
    assert result.metrics["response_seconds"] > 0, "it did answer"


async def test_a_server_that_is_no_responder_says_its_status(pki: Pki, serve: Any) -> None:
    async with serve(http(b"", "404 Not Found")) as port:
        result = await ask(pki, f"http://127.0.0.1:{port}/ocsp")
    assert (result.reason, result.metrics["status_code"]) == ("it answers with HTTP status 404", 404)


async def test_a_responder_that_drips_or_stays_silent_ends_in_time(pki: Pki, serve: Any) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for _ in range(900):
            writer.write(b"\x30")
            await writer.drain()
            await asyncio.sleep(0.3)

    async with serve(drip) as port:
        dripping = await ask(pki, f"http://127.0.0.1:{port}/", timeout_seconds=4)
    async with serve(lambda *_: asyncio.sleep(60)) as port:
        silent = await ask(pki, f"http://127.0.0.1:{port}/", timeout_seconds=4)
    assert dripping.reason == "the response was not complete within 4 s"
    assert silent.reason == "no response within 4 s"
    assert "connect_seconds" in silent.metrics


async def test_a_responder_behind_https_tells_how_long_that_certificate_lasts(
    pki: Pki, serve: Any, ca: trustme.CA, nginx: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with serve(http(signed_answer(pki)), ssl=context) as port:
        result = await ask(pki, f"https://127.0.0.1:{port}/", ca_file=str(nginx.ca_file))
        refused = await ask(pki, f"https://127.0.0.1:{port}/")
    assert (result.reason, result.metrics["success"]) == (None, 1)
    assert result.metrics["certificate_expiry_days"] > 0
    assert result.metrics["tls_seconds"] > 0
    assert refused.reason is not None
    assert refused.reason.startswith("the certificate is not accepted: ")


async def test_nobody_there_is_a_measurement(pki: Pki, free_tcp_port: int) -> None:
    result = await ask(pki, f"http://127.0.0.1:{free_tcp_port}/")
    assert result.reason == "connection refused"
    assert set(result.metrics) == {"success", "known_certificate_expiry_days"}


async def test_the_issuer_is_found_among_several(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "cas.pem").write_bytes(pki.root.pem + pki.middle.pem)
    assert (await ask(pki, issuer_file=str(tmp_path / "cas.pem"))).metrics["success"] == 1


async def test_files_and_targets_that_cannot_be_used_are_our_errors(pki: Pki, tmp_path: Path) -> None:
    none, bad = tmp_path / "none.pem", tmp_path / "bad.pem"
    bad.write_text("nothing", encoding="ascii")
    missing = await ask(pki, certificate_file=str(none))
    assert missing.error == f"certificate_file {none} cannot be read: No such file or directory"
    damaged = await ask(pki, issuer_file=str(bad))
    assert damaged.error == f"issuer_file {bad} holds no certificate in PEM form"
    wrong = await ask(pki, issuer_file=pki.ca_file)
    assert wrong.error == (
        f"issuer_file {pki.ca_file} does not hold the CA that issued CN=server: that is CN=Intermediate of the tests"
    )
    target = await ask(pki, "ocsp.example")
    assert target.error == "target is not an http:// or https:// address; write http://ocsp.example/"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"issuer_file": "b"}, "$.certificate_file: is missing"),
        ({"certificate_file": "a"}, "$.issuer_file: is missing"),
        ({"certificate_file": "a", "issuer_file": "b", "expected_status": "fine"}, "'fine' is not one of: good,"),
        (
            {"certificate_file": "a", "issuer_file": "b", "nonce": True},
            "$.nonce: True is not one of: none, optional, required",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("ocsp_responder", parameters)
    assert message in str(caught.value)


async def test_openssl_understands_what_we_ask(pki: Pki, serve: Any) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        heard.set_result((head, await reader.readexactly(size)))
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serve(listen) as port:
        await ask(pki, f"http://127.0.0.1:{port}/ocsp/ca1")
    head, query = await heard
    assert head.startswith("post /ocsp/ca1 http/1.1\r\n")
    assert "content-type: application/ocsp-request\r\n" in head
    text = in_openssls_words(query)
    assert f"{pki.good.certificate.serial_number:X}" in text
    assert "OCSP Nonce" in text


def in_openssls_words(query: bytes) -> str:
    words = ["openssl", "ocsp", "-reqin", "/dev/stdin", "-req_text"]
    return subprocess.run(words, input=query, capture_output=True, check=True, timeout=60).stdout.decode()
