"""The codec says back what it was told, reads what InfluxDB reads, and refuses the rest by number and reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.line_protocol import LineError, Point, UInt, decode, encode, encode_result
from checks.result import Result

NAMES = (
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
    .filter(lambda s: not s.endswith("\\"))
    .filter(lambda s: s.strip(" ") == s)
)
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1).map(UInt),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40),
)
POINTS = st.builds(
    Point,
    NAMES.filter(lambda s: not s.startswith("#")),
    st.dictionaries(NAMES, NAMES, max_size=4),
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.none() | st.integers(-(2**62), 2**62),
)


@given(st.lists(POINTS, max_size=5))
def test_what_is_encoded_is_decoded_the_same(points: list[Point]) -> None:
    body = "\n".join(encode(point) for point in points).encode()
    assert list(decode(body)) == points


@given(st.binary(max_size=200))
def test_random_bytes_yield_points_or_reasons_and_never_an_exception(body: bytes) -> None:
    assert all(isinstance(item, Point | LineError) for item in decode(body))


@given(st.lists(POINTS, min_size=1, max_size=4), st.integers(0, 3))
def test_a_bad_line_harms_no_other(points: list[Point], position: int) -> None:
    points = [p for p in points if not any(isinstance(v, str) for v in p.fields.values())]
    position = min(position, len(points))
    lines = [encode(point) for point in points]
    lines.insert(position, "icmp_echo,site=1 loss_ratio=abc 5")
    found = list(decode("\n".join(lines).encode()))
    errors = [item for item in found if isinstance(item, LineError)]
    assert [error.line for error in errors] == [position + 1]
    assert [item for item in found if isinstance(item, Point)] == points


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("m f=1", Point("m", {}, {"f": 1.0})),
        ("m f=1. 5", Point("m", {}, {"f": 1.0}, 5)),
        ("m f=.5e-3", Point("m", {}, {"f": 0.0005})),
        ("m f=-1.234456e+78", Point("m", {}, {"f": -1.234456e78})),
        ("m f=12i,g=3u,h=T,j=False", Point("m", {}, {"f": 12, "g": UInt(3), "h": True, "j": False})),
        (r"my\ m\,x,t\ ag=a\=b\,c f\=1=1", Point("my m,x", {"t ag": "a=b,c"}, {"f=1": 1.0})),
        (r"m=1,t=a\b f=1", Point("m=1", {"t": r"a\b"}, {"f": 1.0})),
        (r'm f="a \"b\" \\ c, d=e"', Point("m", {}, {"f": 'a "b" \\ c, d=e'})),
        ('m,t="q" f="x" 7', Point("m", {"t": '"q"'}, {"f": "x"}, 7)),
        ('m f="two\nlines" 7', Point("m", {}, {"f": "two\nlines"}, 7)),
        ("  m,t=Hòa\\ Bình f=1  9  ", Point("m", {"t": "Hòa Bình"}, {"f": 1.0}, 9)),
        ("m f=1 5\r", Point("m", {}, {"f": 1.0}, 5)),
    ],
)
def test_the_reference_examples_are_read(line: str, point: Point) -> None:
    assert list(decode(line.encode())) == [point]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cpu", "no fields: expected 'measurement,tag=value field=value timestamp'"),
        (",t=1 f=1", "the measurement has no name"),
        ("m,t f=1", "tag 't' is not written key=value"),
        ("m,t= f=1", "tag 't=' is not written key=value"),
        ("m,t=1,t=2 f=1", "tag 't' is given twice"),
        ("m 5", "expected a field written key=value, found '5'"),
        ("m f= 5", "field 'f' has no value"),
        ('m f="open 5', "field 'f' has text without its closing quote"),
        ('m f="a"b 5', "field 'f' is followed by 'b 5'; expected a comma or a space"),
        ("m f=NaN", "field 'f': 'NaN' is neither a number (1.5, 3i, 3u), true or false, nor \"text\""),
        ("m f=1e999", "field 'f': 1e999 is too large for a number"),
        ("m f=9223372036854775808i", "field 'f': 9223372036854775808i does not fit in 64 bits"),
        ("m f=-1u", "field 'f': -1u does not fit in 64 bits"),
        ("m f=1 soon", "timestamp 'soon' is not a whole number"),
        ("m f=1 99999999999999999999", "timestamp 99999999999999999999 is out of range: is the precision right?"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line: str, reason: str) -> None:
    (found,) = decode(f"# a comment\n\n{line}".encode())
    assert isinstance(found, LineError)
    assert (found.line, found.reason) == (3, reason)


def test_bytes_that_are_not_utf8_are_named() -> None:
    (bad, good) = decode(b"m f=\xff\nm f=1")
    assert isinstance(bad, LineError)
    assert bad.reason == "not UTF-8 at byte 5"
    assert good == Point("m", {}, {"f": 1.0})


@pytest.mark.parametrize(("precision", "ns"), [("s", 5_000_000_000), ("ms", 5_000_000), ("us", 5_000), ("ns", 5)])
def test_precision_scales_the_timestamp(precision: str, ns: int) -> None:
    (point,) = decode(b"m f=1 5", precision)
    assert isinstance(point, Point)
    assert point.timestamp == ns


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (Point("m", {}), "has no field"),
        (Point("", {}, {"f": 1.0}), "measurement is empty"),
        (Point("#m", {}, {"f": 1.0}), "makes a comment of its line"),
        (Point("m", {}, {"f": float("nan")}), "leave it out"),
        (Point("m", {"t": "a\nb"}, {"f": 1.0}), "line feed"),
        (Point("m", {"t": "a\\"}, {"f": 1.0}), "ends in a backslash"),
        (Point("m", {}, {"f": 2**63}), "does not fit in 64 bits"),
    ],
)
def test_what_line_protocol_cannot_say_is_refused(point: Point, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(point)


def test_an_escaped_equals_sign_in_a_name_opens_no_text() -> None:
    lines = [encode(Point("m", {}, {name: 0.0})) for name in ('="', '"')]
    assert [item.fields for item in decode("\n".join(lines).encode()) if isinstance(item, Point)] == [
        {'="': 0.0},
        {'"': 0.0},
    ]


def test_a_comment_after_spaces_is_a_comment_too() -> None:
    assert list(decode(b"  #m f=1 0\n # m f=1 0\n")) == []


def test_a_result_becomes_a_line_with_its_reason_and_without_what_was_not_measured() -> None:
    result = Result(
        site="31120",
        node="gw",
        check="tcp_connect",
        target="10.0.0.1:443",
        measured_at=7,
        duration_seconds=0.25,
        metrics={"success": 0},
        reason="connection refused",
    )
    assert encode_result(result) == (
        "tcp_connect,node=gw,site=31120,target=10.0.0.1:443 "
        'success=0.0,duration_seconds=0.25,reason="connection refused" 7'
    )


def test_notes_are_one_text_beside_the_numbers() -> None:
    facts = {"site": "31120", "node": "", "check": "route", "target": "10.0.1.1", "measured_at": 7}
    result = Result(**facts, duration_seconds=1.0, metrics={"hops": 2}, notes=("1  10.0.0.1", "2  10.0.1.1"))  # type: ignore[arg-type]  # of several kinds
    line = encode_result(result)
    assert line == 'route,site=31120,target=10.0.1.1 hops=2.0,duration_seconds=1.0,notes="1  10.0.0.1; 2  10.0.1.1" 7'
    [point] = decode(line.encode())
    assert isinstance(point, Point)
    assert point.fields["notes"] == "1  10.0.0.1; 2  10.0.1.1"
