"""dns_query against a real dnsmasq, and its codec against dnspython as an independent witness."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.check import CheckError
from checks.dns_query import DnsQuery, first_server
from checks.dns_wire import TYPES, WireError, decode, encode_name, encode_question
from checks.run import run
from checks.strict import ConfigError
from tests.checks.conftest import datagram_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.result import Result


async def ask(target: str, port: int, **parameters: Any) -> Result:
    return await run(DnsQuery(server="127.0.0.1", port=port, **parameters), target, site="s", node="n")


@pytest.mark.parametrize(
    ("target", "type_", "answer"),
    [
        ("portal.test", "A", "10.92.0.1"),
        ("portal.test", "AAAA", "fd00::92"),
        ("www.test", "A", "10.92.0.1"),
        ("www.test", "CNAME", "Portal.Test."),
        ("test", "MX", "10 mail.test"),
        ("note.test", "TXT", "Xin chao"),
        ("_sip._udp.test", "SRV", "1 2 5060 meet.test"),
        ("test", "CAA", '0 issue "ca.test"'),
        ("10.92.0.1", "PTR", "portal.test"),
        ("1.0.92.10.in-addr.arpa.", "PTR", "portal.test"),
    ],
)
async def test_a_real_server_answers_every_type_as_expected(dnsmasq: int, target: str, type_: str, answer: str) -> None:
    result = await ask(target, dnsmasq, type=type_, expected_answer=answer)
    assert (result.reason, result.error) == (None, None)
    assert result.metrics["success"] == 1
    assert result.metrics["rcode"] == 0
    assert result.metrics["answers"] == 1
    assert 0 < result.metrics["response_seconds"] < 5
    assert result.metrics.get("ttl_seconds", 77) in (0, 77)
    assert set(result.metrics) <= set(DnsQuery.metrics)


async def test_an_answer_that_does_not_fit_a_datagram_comes_over_tcp(dnsmasq: int) -> None:
    whole = "".join(char * 250 for char in "abcd")
    result = await ask("long.test", dnsmasq, type="TXT", expected_answer=whole)
    assert result.metrics["success"] == 1


async def test_another_answer_says_which_one_came(dnsmasq: int) -> None:
    result = await ask("portal.test", dnsmasq, expected_answer="10.0.0.9")
    assert result.reason == "the answer is 10.92.0.1, expected 10.0.0.9"
    assert (result.metrics["success"], result.metrics["answers"]) == (0, 1)


async def test_a_name_that_does_not_exist_may_be_what_is_wanted(dnsmasq: int) -> None:
    missing = await ask("nowhere.test", dnsmasq)
    assert missing.reason == "response code NXDOMAIN, expected NOERROR"
    assert (missing.metrics["success"], missing.metrics["rcode"]) == (0, 3)
    assert (await ask("nowhere.test", dnsmasq, expected_rcode="NXDOMAIN")).metrics["success"] == 1
    assert (await ask("portal.test", dnsmasq, type="MX")).reason == "the name has no MX record"
    assert (await ask("outside.example", dnsmasq)).reason == "response code REFUSED, expected NOERROR"


async def test_nothing_listening_is_a_measurement(free_udp_port: int) -> None:
    result = await ask("portal.test", free_udp_port)
    assert result.reason == f"nothing listens on port {free_udp_port} of 127.0.0.1"
    assert result.metrics == {"success": 0}


async def test_a_silent_server_is_asked_twice_and_then_named() -> None:
    heard: list[bytes] = []

    def keep(query: bytes) -> list[bytes]:
        heard.append(query)
        return []

    async with datagram_server(keep) as port:
        result = await ask("portal.test", port, timeout_seconds=0.4)
    assert result.reason == f"no answer from 127.0.0.1 port {port} within 0.4 s"
    assert len(heard) == 2


async def test_answers_to_other_questions_are_passed_over() -> None:
    def answer(query: bytes) -> list[bytes]:
        asked = dns.message.from_wire(query)
        right = dns.message.make_response(asked)
        right.answer.append(dns.rrset.from_text("portal.test.", 60, "IN", "A", "10.0.0.1"))
        forged = dns.message.make_response(asked)
        forged.id ^= 1
        other = dns.message.make_response(dns.message.make_query("evil.test", "A", id=asked.id))
        return [forged.to_wire(), other.to_wire(), query, right.to_wire()]

    async with datagram_server(answer) as port:
        result = await ask("portal.test", port, expected_answer="10.0.0.1")
    assert (result.metrics["success"], result.metrics["ttl_seconds"]) == (1, 60)


async def test_an_answer_that_is_no_dns_is_said() -> None:
    async with datagram_server(lambda _: [b"hello"]) as port:
        assert (await ask("portal.test", port)).reason == "the answer is not DNS: only 5 bytes"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("a..b", "target 'a..b' has an empty part; write portal.example"),
        ("x" * 64 + ".test", f"target '{'x' * 64}.test' has a part of more than 63 bytes; write portal.example"),
        (".".join(["x" * 63] * 5), "is longer than 255 bytes"),
    ],
)
async def test_a_name_that_dns_cannot_hold_is_our_error(target: str, error: str) -> None:
    result = await ask(target, 53)
    assert result.error is not None
    assert error in result.error


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"type": "ANY"}, "$.type: 'ANY' is not one of: A, AAAA"),
        ({"port": 0}, "$.port: expected `int` >= 1"),
        ({"port": 70_000}, "$.port: expected `int` <= 65535"),
        ({"expected_rcode": "OK"}, "$.expected_rcode: 'OK' is not one of: NOERROR"),
        (
            {"expected_rcode": "NXDOMAIN", "expected_answer": "10.0.0.1"},
            "expected_answer needs expected_rcode NOERROR: with NXDOMAIN none comes",
        ),
        ({"servers": "10.0.0.1"}, "$.servers: is unknown; there are: expected_answer"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("dns_query", parameters)
    assert message in str(caught.value)


def test_the_first_server_of_the_system_is_asked_by_default() -> None:
    assert first_server("# mine\nsearch x\nnameserver\nnameserver 10.0.0.53\nnameserver 10.0.0.54\n") == "10.0.0.53"
    with pytest.raises(CheckError, match="names no server to ask: give the parameter server"):
        first_server("search x\n")


# The codec, beside dnspython.

_label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
_host = st.lists(_label, min_size=1, max_size=5).map(lambda labels: ".".join(labels) + ".")
_u16 = st.integers(0, 2**16 - 1)
_u32 = st.integers(0, 2**32 - 1)
_word = st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=200)
_DATA = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    "NS": _host,
    "CNAME": _host,
    "PTR": _host,
    "MX": st.builds("{} {}".format, _u16, _host),
    "SRV": st.builds("{} {} {} {}".format, _u16, _u16, _u16, _host),
    "SOA": st.builds("{} {} {} {} {} {} {}".format, _host, _host, _u32, _u32, _u32, _u32, _u32),
    "TXT": _word.map(lambda text: f'"{text}"'),
    "CAA": st.builds('{} issue "{}"'.format, st.integers(0, 255), _word),
}


@st.composite
def _answers(draw: st.DrawFn) -> tuple[str, str, list[str], int]:
    type_ = draw(st.sampled_from(sorted(_DATA)))
    data = draw(st.lists(_DATA[type_], min_size=1, max_size=4, unique=True))
    return draw(_host), type_, data, draw(st.integers(0, 2**31 - 1))


def _comparable(type_: str, text: str) -> str:
    """Undo what each writes in its own way: quotes around text, final dots, IPv4 inside IPv6."""
    if type_ == "TXT":
        return text.strip('"')
    if type_ == "AAAA":
        return ipaddress.ip_address(text).exploded
    return text if type_ in ("CAA", "A") else " ".join(part.rstrip(".") for part in text.split())


@given(_answers(), st.integers(0, 2**16 - 1))
def test_what_dnspython_writes_we_read_the_same(answers: tuple[str, str, list[str], int], id_: int) -> None:
    name, type_, data, ttl = answers
    response = dns.message.make_response(dns.message.make_query(name, type_, id=id_))
    rrset = dns.rrset.from_text(name, ttl, "IN", type_, *data)
    response.answer.append(rrset)
    message = decode(response.to_wire(max_size=65_535), id_, encode_name(name), TYPES[type_])
    assert message is not None
    ours = [_comparable(type_, record.text) for record in message.answers]
    assert sorted(ours) == sorted(_comparable(type_, str(rr)) for rr in rrset)
    assert (message.rcode, message.truncated, message.ttl_seconds) == (0, False, ttl)


@given(_host, st.sampled_from(sorted(TYPES)), st.integers(0, 2**16 - 1))
def test_what_we_ask_dnspython_understands(name: str, type_: str, id_: int) -> None:
    query = dns.message.from_wire(encode_question(id_, encode_name(name), TYPES[type_]))
    assert query.id == id_
    assert query.flags == dns.flags.RD
    assert query.question[0].name.to_text() == name
    assert dns.rdatatype.to_text(query.question[0].rdtype) == type_


def test_a_name_in_another_alphabet_goes_by_idna() -> None:
    query = dns.message.from_wire(encode_question(1, encode_name("cầnthơ.test"), 1))
    assert query.question[0].name.to_text() == "cầnthơ".encode("idna").decode() + ".test."


def _strange_messages() -> Iterator[tuple[str, bytes, str]]:
    head = bytes.fromhex("0001 8180 0001 0001 0000 0000")
    question = b"\x01a\x00\x00\x01\x00\x01"
    record = bytes.fromhex("0001 0001 0000003c")
    yield "a pointer at itself", head + b"\xc0\x0c\x00\x01\x00\x01", "points forwards or at itself"
    yield "two pointers at each other", head + question + b"\xc0\x15\xc0\x13" + record, "points forwards or at itself"
    yield "a pointer beyond the end", head + b"\xff\xff\x00\x01\x00\x01", "points forwards or at itself"
    yield "half a pointer", head + question + b"\xc0", "a name is cut short"
    yield "a label of the old kinds", head + b"\x41a\x00", "a label of an unknown kind"
    yield "a label beyond the end", head + b"\x3fa", "a name is cut short"
    yield "a name without its end", head + b"\x01a", "a name is cut short"
    yield "a name that grows too long", head + (b"\x3f" + b"x" * 63) * 5 + b"\0", "longer than 255 bytes"
    yield "no type", head + b"\x01a\x00\x00", "the question is cut short"
    yield "half a record", head + question + b"\xc0\x0c\x00\x01", "a record is cut short"
    yield "data beyond the end", head + question + b"\xc0\x0c" + record + b"\xff\xff1234", "longer than the message"
    yield "three bytes of address", head + question + b"\xc0\x0c" + record + b"\0\x03123", "data is cut short"
    yield "five bytes of address", head + question + b"\xc0\x0c" + record + b"\0\x0512345", "the length it states"


@pytest.mark.parametrize(("data", "words"), [pytest.param(d, w, id=name) for name, d, w in _strange_messages()])
def test_a_malformed_message_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data, 1, encode_name("a"), 1)


@given(st.binary(max_size=600), st.sampled_from(sorted(TYPES.values())))
def test_random_bytes_end_in_a_message_or_in_words(noise: bytes, type_: int) -> None:
    head = bytes.fromhex("0001 8180 0001 0003 0000 0000") + b"\x01a\x00" + type_.to_bytes(2, "big") + b"\x00\x01"
    for data in (noise, head + noise, head + b"\xc0\x0c" + type_.to_bytes(2, "big") + b"\0\1\0\0\0\0" + noise):
        message = None
        with contextlib.suppress(WireError):
            message = decode(data, 1, encode_name("a"), type_)
        # What is taken for an answer is one of the asked type; what answers another question is nothing.
        assert message is None or all(answer.type == type_ for answer in message.answers)
