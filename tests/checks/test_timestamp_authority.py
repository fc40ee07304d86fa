"""timestamp_authority against OpenSSL as the authority (`openssl ts`); our small server only carries its bytes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.run import run
from checks.strict import ConfigError
from checks.timestamp_authority import TimestampAuthority
from checks.timestamp_token import Question, TokenError
from tests.checks.pki import Identity, issue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from checks.result import Result


REPLY = "application/timestamp-reply"


@dataclass(frozen=True)
class Authority:
    """A time-stamp authority that OpenSSL plays, by configurations in a folder."""

    folder: Path
    root: Identity

    @property
    def ca_file(self) -> str:
        return str(self.folder / "root.pem")

    def configure(self, name: str = "tsa", *, signer: Identity | None = None, more: str = "") -> str:
        """Write a configuration; `more` is what it says besides who signs."""
        signer = signer or issue("TSA", self.root, usage=ExtendedKeyUsageOID.TIME_STAMPING, days=100)
        pem, key = signer.write(self.folder, name)
        (self.folder / f"{name}.serial").write_text("01\n", encoding="ascii")
        configuration = self.folder / f"{name}.cnf"
        configuration.write_text(
            f"[tsa]\ndefault_tsa = here\n[here]\nserial = {self.folder}/{name}.serial\nsigner_cert = {pem}\n"
            f"signer_key = {key}\ncerts = {self.ca_file}\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n"
            f"digests = sha256, sha512\n{more}\n",
            encoding="utf-8",
        )
        return str(configuration)

    def reply(self, configuration: str, query: bytes) -> bytes:
        """Have OpenSSL answer a request."""
        words = ["openssl", "ts", "-reply", "-config", configuration, "-queryfile", "/dev/stdin", "-out", "/dev/stdout"]
        return subprocess.run(words, input=query, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tsa"), issue("Root of time", ca=True, days=3650))
    (made.folder / "root.pem").write_bytes(made.root.pem)
    return made


def carrier(
    answer: Callable[[bytes], bytes], delay_seconds: float = 0, kind: str = "application/timestamp-reply"
) -> Any:
    """Carry requests to `answer`. A GET gets 403, as the government's authority does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("post / ") or "content-type: application/timestamp-query\r\n" not in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return await writer.drain()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        query = await reader.readexactly(size)
        await asyncio.sleep(delay_seconds)
        body = await asyncio.to_thread(answer, query)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return await writer.drain()

    return handle


async def stamp(port: int, **parameters: Any) -> Result:
    return await run(TimestampAuthority(**parameters), f"http://127.0.0.1:{port}/", site="s", node="n")


async def test_a_stamp_is_granted_verified_and_dated(authority: Authority, serve: Any) -> None:
    configuration = authority.configure(more="accuracy = secs:1, millisecs:500")
    async with serve(carrier(lambda query: authority.reply(configuration, query))) as port:
        result = await stamp(port, authority_ca_file=authority.ca_file, expected_policy="1.2.3.4")
        long = await stamp(port, digest="sha512")
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    https = {"dns_seconds", "tls_seconds", "certificate_expiry_days"}
    assert set(metrics) == set(TimestampAuthority.metrics) - https
    assert (metrics["success"], metrics["status"], metrics["signature_valid"]) == (1, 0, 1)
    assert metrics["signer_expiry_days"] == pytest.approx(100, abs=0.1)
    assert abs(metrics["clock_offset_seconds"]) <= metrics["clock_uncertainty_seconds"]
    assert metrics["clock_difference_seconds"] == 0
    assert metrics["clock_uncertainty_seconds"] >= 2, "half a second of rounding, and the 1.5 s that it states"
    assert metrics["first_byte_seconds"] <= metrics["response_seconds"]
    assert long.metrics["success"] == 1
    assert "signature_valid" not in long.metrics, "without a CA there is nothing to judge the signature by"


async def test_slow_is_normal_and_only_makes_the_clock_less_certain(authority: Authority, serve: Any) -> None:
    configuration = authority.configure()
    async with serve(carrier(lambda query: authority.reply(configuration, query), delay_seconds=2)) as port:
        result = await stamp(port)
    async with serve(carrier(lambda _: b"", delay_seconds=60)) as port:
        hasty = await stamp(port, timeout_seconds=4)
    assert (result.metrics["success"], TimestampAuthority().timeout_seconds) == (1, 180)
    assert result.metrics["first_byte_seconds"] >= 2
    assert result.metrics["clock_uncertainty_seconds"] >= 1.5
    assert hasty.reason == "no response within 4 s"
    assert "connect_seconds" in hasty.metrics


async def test_a_rejection_says_the_authoritys_own_words(authority: Authority, serve: Any) -> None:
    configuration = authority.configure("choosy")
    text = authority.folder / "choosy.cnf"
    text.write_text(text.read_text(encoding="utf-8").replace("sha256, sha512", "sha512"), encoding="utf-8")
    async with serve(carrier(lambda query: authority.reply(configuration, query))) as port:
        result = await stamp(port)
    assert result.reason == "the request is rejected: Message digest algorithm is not supported."
    assert (result.metrics["success"], result.metrics["status"]) == (0, 2)
    assert "clock_offset_seconds" not in result.metrics


async def test_an_answer_to_another_request_is_refused(authority: Authority, serve: Any) -> None:
    configuration = authority.configure()
    old = authority.reply(configuration, Question(b"yesterday", "sha256").encode())
    async with serve(carrier(lambda _: old)) as port:
        result = await stamp(port, authority_ca_file=authority.ca_file)
    assert result.reason == "the token carries another nonce than the request: an old answer, replayed"
    assert (result.metrics["success"], result.metrics["status"]) == (0, 0)


async def test_the_right_nonce_over_other_data_is_refused(authority: Authority) -> None:
    mine, theirs = Question(b"mine", "sha256"), Question(b"theirs", "sha256")
    swapped = mine.encode().replace(digest_in(mine), digest_in(theirs))
    assert swapped != mine.encode()
    answer = authority.reply(authority.configure(), swapped)
    with pytest.raises(TokenError, match="the token is for other data than was sent"):
        mine.read(answer, [])


def digest_in(question: Question) -> bytes:
    return bytes(question._request.message_imprint.message)


async def test_a_signature_by_anybody_else_is_forged(authority: Authority, serve: Any) -> None:
    impostor = issue("Root of time", ca=True)
    forged = authority.configure("forged", signer=issue("TSA", impostor, usage=ExtendedKeyUsageOID.TIME_STAMPING))
    async with serve(carrier(lambda query: authority.reply(forged, query))) as port:
        result = await stamp(port, authority_ca_file=authority.ca_file)
        trusting = await stamp(port)
    assert result.reason is not None
    assert result.reason.startswith("the token's signature is not accepted: ")
    assert "Error {" not in result.reason, "OpenSSL's pile of errors is nothing for people"
    assert (result.metrics["success"], result.metrics["signature_valid"]) == (0, 0)
    assert trusting.metrics["success"] == 1


async def test_another_policy_than_expected_is_told(authority: Authority, serve: Any) -> None:
    configuration = authority.configure()
    async with serve(carrier(lambda query: authority.reply(configuration, query))) as port:
        result = await stamp(port, expected_policy="1.2.3.9")
    assert result.reason == "the token is by policy 1.2.3.4, expected 1.2.3.9"


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", REPLY, "the answer is not a time-stamp response: "),
        (b"hello", REPLY, "the answer is not a time-stamp response: "),
        (b"<html>", "text/html; charset=utf-8", "the answer is 'text/html', expected application/timestamp-reply"),
        (b"\x30\x05\x30\x03\x02\x01\x00", REPLY, "the answer is not a time-stamp response: "),
        (b"\x30\x05\x30\x03\x02\x01\x03", REPLY, "the request is waiting"),
        (b"\x30\x05\x30\x03\x02\x01\x09", REPLY, "the request is of unknown status 9"),
        (b"\0" * 200_000, REPLY, "the answer is not a time-stamp response: "),
    ],
)
async def test_what_is_no_stamp_is_said(body: bytes, kind: str, reason: str, serve: Any) -> None:
    async with serve(carrier(lambda _: body, kind=kind)) as port:
        result = await stamp(port)
    assert result.error is None
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert result.metrics["success"] == 0


async def test_a_server_that_refuses_says_its_status(serve: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serve(refuse) as port:
        result = await stamp(port)
    assert (result.reason, result.metrics["status_code"]) == ("HTTP status 403, expected 200", 403)


async def test_nobody_there_is_a_measurement(free_tcp_port: int) -> None:
    result = await stamp(free_tcp_port)
    assert (result.reason, result.metrics) == ("connection refused", {"success": 0})


async def test_files_and_targets_that_cannot_be_used_are_our_errors(tmp_path: Path) -> None:
    missing = await stamp(9, authority_ca_file=str(tmp_path / "none.pem"))
    assert missing.error == f"authority_ca_file {tmp_path}/none.pem cannot be read: No such file or directory"
    (tmp_path / "bad.pem").write_text("nothing", encoding="ascii")
    bad = await stamp(9, authority_ca_file=str(tmp_path / "bad.pem"))
    assert bad.error == f"authority_ca_file {tmp_path}/bad.pem holds no certificate in PEM form"
    wrong = await run(TimestampAuthority(), "tsa.example", site="s", node="n")
    assert wrong.error == "target is not an http:// or https:// address; write http://tsa.example/"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"digest": "md5"}, "$.digest: 'md5' is not one of: sha256, sha512"),
        ({"expected_policy": "gold"}, "expected_policy 'gold' is not an object identifier, like 1.2.3"),
        ({"timeout_seconds": 601}, "$.timeout_seconds: expected `float` <= 600.0"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("timestamp_authority", parameters)
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def answered(authority: Authority) -> tuple[Question, bytes]:
    question = Question(b"data", "sha256")
    return question, authority.reply(authority.configure("fuzz"), question.encode())


@given(st.data())
def test_no_change_of_bytes_moves_the_time_of_a_signed_token(
    authority: Authority, answered: tuple[Question, bytes], data: st.DataObject
) -> None:
    question, answer = answered
    at = data.draw(st.integers(0, len(answer) - 1))
    changed = data.draw(st.binary(max_size=4))
    roots = [authority.root.certificate]
    with contextlib.suppress(TokenError):
        token = question.read(answer[:at] + changed + answer[at + len(changed) :], roots)
        assert token.at == question.read(answer, roots).at


@given(st.binary(max_size=300))
def test_random_bytes_are_no_token(answered: tuple[Question, bytes], noise: bytes) -> None:
    with pytest.raises(TokenError):
        answered[0].read(noise, [])
