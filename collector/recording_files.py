"""Line protocol from files of any size, sorted or not: read once, in chunks, every line that is left out named."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from checks.line_protocol import LineError, decode, logical_lines
from collector.columns import Columns, Decoder
from collector.recording import Points, step_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK_BYTES = 4_000_000
_LONGEST_TEXT = 64_000_000
_MOST_KNOWN = 1_000_000
_NO_TIME = -(1 << 62)
"""In the place of an arrival: a point that has this instant has none of its own."""


def read_files(names: Sequence[str], start: int | None = None, end: int | None = None) -> tuple[Points, list[str]]:
    """Return the points of files (`-` is standard input; `.gz` is unpacked), and a sentence for each line left out.

    Only points from `start` to before `end` (nanoseconds) count. `OSError` says which file cannot be read.
    """
    points, problems = Points(), []
    decoder, known = Decoder(points.catalogue), set[bytes]()
    try:
        for name in names:
            with _opened(name) as file:
                for first, chunk in _chunks(file):
                    _teach(chunk, decoder, known)
                    columns, errors = _read(chunk, decoder)
                    problems += [f"{name}: line {first + number}: {words}" for number, words in errors]
                    points.add(_between(columns, start, end))
    except BaseException:
        points.close()
        raise
    points.step = step_for(points.count)
    return points, problems


def _opened(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    if name.endswith(".gz"):
        Path(name).open("rb").close()  # so that what is wrong with it is said of this name
        return cast("BinaryIO", gzip.open(name))
    return Path(name).open("rb")


def _chunks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of whole lines, each with the number of lines before it. A text may hold a line feed."""
    before, rest = 0, b""
    while True:
        piece = file.read(_CHUNK_BYTES)
        body = rest + piece
        cut = body.rfind(b"\n") + 1 if piece else len(body)
        if piece and len(body) < _LONGEST_TEXT and (body.count(b'"', 0, cut) - body.count(b'\\"', 0, cut)) % 2:
            cut = 0  # perhaps within a text: look at more of it
        if cut:
            yield before, body[:cut]
            before += body.count(b"\n", 0, cut)
        rest = body[cut:]
        if not piece:
            return


def _teach(chunk: bytes, decoder: Decoder, known: set[bytes]) -> None:
    """Show the decoder one line of each new series first: exports have a series' lines together, all new at once."""
    new = {line.partition(b" ")[0]: line for line in chunk.split(b"\n")}
    fresh = [line for key, line in new.items() if key not in known]
    if len(known) < _MOST_KNOWN:
        known.update(new)
    decoder.decode(b"\n".join(fresh), arrived_at=_NO_TIME)


def _read(chunk: bytes, decoder: Decoder) -> tuple[Columns, list[tuple[int, str]]]:
    columns, errors = decoder.decode(chunk, arrived_at=_NO_TIME)
    problems = [(error.line, _words(error.reason)) for error in errors]
    timeless = bool((columns.measured_at == _NO_TIME).any()) or any(text[1] == _NO_TIME for text in columns.texts)
    if timeless:
        for number, line in logical_lines(chunk):
            for item in decode(line):
                if not isinstance(item, LineError) and item.timestamp is None and "site" in item.tags:
                    problems.append((number, "no timestamp: the point cannot be placed"))
    return columns, sorted(problems)


def _words(reason: str) -> str:
    return "no site tag: the point cannot be placed" if reason.startswith("no site tag") else reason


def _between(columns: Columns, start: int | None, end: int | None) -> Columns:
    first, last = _NO_TIME + 1 if start is None else start, np.iinfo(np.int64).max if end is None else end
    wanted = (columns.measured_at >= first) & (columns.measured_at < last)
    texts = [text for text in columns.texts if first <= text[1] < last]
    if wanted.all() and len(texts) == len(columns.texts):
        return columns
    signals, measured_at = columns.signals[wanted], columns.measured_at[wanted]
    return Columns(signals, measured_at, columns.values[wanted], columns.series, columns.points, texts)
