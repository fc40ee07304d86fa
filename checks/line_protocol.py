"""InfluxDB line protocol, version 2: the words that agents, the collector and other people's tools speak.

    measurement,tag=value field=1.5,count=3i,ok=true,note="text" 1700000000000000000

The rules followed here are those of the InfluxDB v2 reference: a comma or space in a measurement, and a comma, space
or equals sign in a tag or a field's key, is escaped by a backslash; a backslash before any other character stands for
itself; text values are quoted, and in them a quote and a backslash are escaped and a line feed is allowed.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from checks.result import Result

PRECISIONS: dict[str, int] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Nanoseconds in one unit of each precision that a writer may name."""

_LONGEST_TEXT = 65_536
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_TRUE = {"t", "T", "true", "True", "TRUE"}
_FALSE = {"f", "F", "false", "False", "FALSE"}
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}\Z", re.ASCII)
_KEY_END = re.compile(r"(?<!\\) ")
_COMMA = re.compile(r"(?<!\\),")
_EQUALS = re.compile(r"(?<!\\)=")
_UNESCAPE = re.compile(r"\\([,= ])")
_UNESCAPE_MEASUREMENT = re.compile(r"\\([, ])")
_UNESCAPE_TEXT = re.compile(r'\\(["\\])')


class UInt(int):
    """An unsigned integer (`7u`), kept apart so that it is written back as it was read."""


Value = float | int | bool | str
"""What a field may hold. `bool` and `UInt` are kinds of `int` in Python and keep their own spelling on the wire."""


class LineError(ValueError):
    """One line that cannot be read: its number in the body, from 1, and why."""

    def __init__(self, line: int, reason: str) -> None:
        """Keep both parts, so that a caller can say them its own way."""
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Point:
    """One line. `timestamp` is nanoseconds since the epoch (UTC), or None where the writer gave none."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value] = field(default_factory=dict)
    timestamp: int | None = None


def encode(point: Point) -> str:
    """Return `point` as one line without a line feed.

    `ValueError` where line protocol has no way to say it: no field, a NaN, an infinity, an integer out of range, an
    empty name, a line feed or final backslash in a name or tag, or a measurement that begins like a comment.
    """
    key = _escape(point.measurement, ", ", "measurement")
    if key.startswith("#"):
        raise ValueError(f"a measurement begins with '#', which makes a comment of its line: {point.measurement!r}")
    for name, value in sorted(point.tags.items()):
        key += f",{_escape(name, ',= ', 'tag key')}={_escape(value, ',= ', f'tag {name}')}"
    if not point.fields:
        raise ValueError(f"a point of {point.measurement!r} has no field")
    fields = ",".join(f"{_escape(name, ',= ', 'field key')}={_value(name, v)}" for name, v in point.fields.items())
    return f"{key} {fields}" if point.timestamp is None else f"{key} {fields} {point.timestamp}"


def encode_result(result: Result) -> str:
    """Return the line of a result: its metrics as floats, `duration_seconds`, and notes, reason or error as text."""
    fields: dict[str, Value] = {name: float(value) for name, value in result.metrics.items()}
    fields["duration_seconds"] = round(result.duration_seconds, 6)
    if result.notes:
        fields["notes"] = "; ".join(result.notes)
    if result.reason is not None:
        fields["reason"] = result.reason
    if result.error is not None:
        fields["error"] = result.error
    tags = {"site": result.site, "node": result.node, "target": result.target}
    return encode(Point(result.check, {k: v for k, v in tags.items() if v}, fields, result.measured_at))


def decode(body: bytes, precision: str = "ns") -> Iterator[Point | LineError]:
    """Read every line of `body`; a bad line yields a `LineError` in its place and harms no other.

    Timestamps are in `precision` and come out in nanoseconds. Empty lines and comments (`#`) are skipped.
    """
    scale = PRECISIONS[precision]
    for number, raw in logical_lines(body):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            yield LineError(number, f"not UTF-8 at byte {exc.start + 1}")
            continue
        try:
            yield _decode_line(line, scale)
        except ValueError as exc:
            yield LineError(number, str(exc))


def logical_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Split into numbered lines; a line feed inside quoted text belongs to the text."""
    physical = body.split(b"\n")
    index = 0
    while index < len(physical):
        first, line = index, physical[index]
        index += 1
        if b'"' in line and _open_quote(line):
            joined, end = line, index
            while end < len(physical) and len(joined) < _LONGEST_TEXT:
                joined += b"\n" + physical[end]
                end += 1
                if b'"' in physical[end - 1] and not _open_quote(joined):
                    line, index = joined, end
                    break
        line = line.removesuffix(b"\r")
        if line.strip() and not line.lstrip(b" ").startswith(b"#"):
            yield first + 1, line


def _open_quote(line: bytes) -> bool:
    """Tell whether the fields of `line` end inside quoted text. A quote in the key is an ordinary character."""
    start = re.search(rb"(?<!\\) ", line)
    if start is None:
        return False
    inside = escaped = False
    before = 0
    for byte in line[start.end() :]:
        if escaped:
            escaped = False
        elif inside and byte == ord("\\"):
            escaped = True
        elif byte == ord('"') and (inside or before == ord("=")):
            inside = not inside
        before = 0 if before == ord("\\") else byte  # an escaped equals sign belongs to the name
    return inside


def _decode_line(line: str, scale: int) -> Point:
    line = line.strip(" ")
    end = _KEY_END.search(line)
    if end is None:
        raise ValueError("no fields: expected 'measurement,tag=value field=value timestamp'")
    measurement, tags = _decode_key(line[: end.start()])
    rest = line[end.end() :].lstrip(" ")
    fields, at = _decode_fields(rest)
    stamp = rest[at:].strip(" ")
    return Point(measurement, tags, fields, _decode_timestamp(stamp, scale) if stamp else None)


def _decode_key(key: str) -> tuple[str, dict[str, str]]:
    measurement, *pairs = _COMMA.split(key)
    if not measurement:
        raise ValueError("the measurement has no name")
    tags: dict[str, str] = {}
    for pair in pairs:
        parts = _EQUALS.split(pair)
        if len(parts) != 2 or not parts[0] or not parts[1]:  # noqa: PLR2004  (a key and a value)
            raise ValueError(f"tag {pair!r} is not written key=value")
        name = _UNESCAPE.sub(r"\1", parts[0])
        if name in tags:
            raise ValueError(f"tag {name!r} is given twice")
        tags[name] = _UNESCAPE.sub(r"\1", parts[1])
    return _UNESCAPE_MEASUREMENT.sub(r"\1", measurement), tags


_FIELD_KEY = re.compile(r"((?:[^=, ]|(?<=\\)[=, ])+)=")
_FIELD_VALUE = re.compile(r'("(?:[^"\\]|\\.)*"|[^, "]+)', re.DOTALL)


def _decode_fields(rest: str) -> tuple[dict[str, Value], int]:
    """Read `a=1,b="x"` from the start of `rest`; return the fields and where they end."""
    fields: dict[str, Value] = {}
    at = 0
    while True:
        key = _FIELD_KEY.match(rest, at)
        if key is None:
            raise ValueError(f"expected a field written key=value, found {rest[at : at + 20]!r}")
        name = _UNESCAPE.sub(r"\1", key[1])
        value = _FIELD_VALUE.match(rest, key.end())
        if value is None:
            words = "text without its closing quote" if rest[key.end() : key.end() + 1] == '"' else "no value"
            raise ValueError(f"field {name!r} has {words}")
        fields[name] = _decode_value(name, value[1])
        at = value.end()
        if rest[at : at + 1] != ",":
            if rest[at : at + 1] not in ("", " "):
                raise ValueError(f"field {name!r} is followed by {rest[at : at + 20]!r}; expected a comma or a space")
            return fields, at
        at += 1


def _decode_value(name: str, text: str) -> Value:
    if text[0] == '"':
        return _UNESCAPE_TEXT.sub(r"\1", text[1:-1])
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[-1] in "iu" and _INTEGER.match(text[:-1]):
        number = int(text[:-1])
        if number not in (_INT64 if text[-1] == "i" else _UINT64):
            raise ValueError(f"field {name!r}: {text} does not fit in 64 bits")
        return number if text[-1] == "i" else UInt(number)
    if _FLOAT.match(text):
        number_ = float(text)
        if math.isinf(number_):
            raise ValueError(f"field {name!r}: {text} is too large for a number")
        return number_
    raise ValueError(f'field {name!r}: {text!r} is neither a number (1.5, 3i, 3u), true or false, nor "text"')


def _decode_timestamp(text: str, scale: int) -> int:
    if not _INTEGER.match(text):
        raise ValueError(f"timestamp {text!r} is not a whole number")
    timestamp = int(text) * scale
    if timestamp not in _INT64:
        raise ValueError(f"timestamp {text} is out of range: is the precision right?")
    return timestamp


def _value(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, UInt):
        return f"{_in_range(name, value, _UINT64)}u"
    if isinstance(value, int):
        return f"{_in_range(name, value, _INT64)}i"
    if not math.isfinite(value):
        raise ValueError(f"field {name!r} is {value}, which line protocol cannot hold: leave it out")
    return repr(float(value))


def _in_range(name: str, value: int, allowed: range) -> int:
    number = int(value)  # a range looks up a plain int at once, but walks through itself for a subclass
    if number not in allowed:
        raise ValueError(f"field {name!r}: {number} does not fit in 64 bits")
    return number


@functools.lru_cache(maxsize=4096)  # the same names come again with every result
def _escape(text: str, special: str, what: str) -> str:
    if not text:
        raise ValueError(f"a {what} is empty")
    if "\n" in text or text.endswith("\\"):
        raise ValueError(f"a {what} has a line feed or ends in a backslash: {text!r}")
    if any(char in text for char in special):
        for char in special:
            text = text.replace(char, "\\" + char)
    return text
