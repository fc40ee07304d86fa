"""A week of 5-minute samples of an interface's use, in a small file that a power cut cannot spoil.

The rule they serve: in each direction the 95th percentile of 2,016 samples (7 days) stays at or under 90 % of capacity.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from checks.interfaces import Counters

SAMPLE_SECONDS = 300.0
FULL_WEEK = 2016
ENOUGH = FULL_WEEK * 9 // 10  # an agent that was restarted, or a night without power, need not begin anew
_WEEK_SECONDS = FULL_WEEK * SAMPLE_SECONDS
_EARLY = 0.95  # beats are never quite even
_LONGEST = 1.5  # a longer gap is no sample of five minutes
_WRAP = 1 << 32
_MAGIC = b"NhU1"
_HEAD = struct.Struct("!4s16sdQQI")
_SAMPLE = struct.Struct("!Iff")
_SUM = struct.Struct("!I")


class Sample(NamedTuple):
    """Mean rates over five minutes that ended `at` (seconds since the epoch), bits per second."""

    at: int
    rate_in: float
    rate_out: float


@dataclass(frozen=True, slots=True)
class Samples:
    """What is kept: samples, oldest first, and the counters at the end of the last one."""

    boot: bytes = bytes(16)
    since: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    kept: tuple[Sample, ...] = ()

    def percentiles(self) -> tuple[float, float] | None:
        """Return the 95th percentile (nearest rank) of both directions; None before there is nearly a week."""
        if len(self.kept) < ENOUGH:
            return None
        rank = -(-95 * len(self.kept) // 100) - 1
        return sorted(s.rate_in for s in self.kept)[rank], sorted(s.rate_out for s in self.kept)[rank]


def step(samples: Samples, now: Counters, *, boot: bytes, wall: float, fastest: float) -> Samples:
    """Return what is kept after counters were read at `now`: one sample more, if five minutes are over.

    After a restart of the machine, a gap or a reset of the counters it only begins to count again. A counter of 32 bits
    that went round is told from a reset by `fastest`, a rate in bit/s that the line cannot reach.
    """
    begun = replace(samples, boot=boot, since=now.at, bytes_in=now.bytes_in, bytes_out=now.bytes_out)
    taken = now.at - samples.since
    if samples.boot != boot or not 0 <= taken <= SAMPLE_SECONDS * _LONGEST:
        return replace(begun, kept=_of_the_week(samples.kept, wall))
    if taken < SAMPLE_SECONDS * _EARLY:
        return samples
    more_in = difference(samples.bytes_in, now.bytes_in, most=fastest * taken / 8)
    more_out = difference(samples.bytes_out, now.bytes_out, most=fastest * taken / 8)
    if more_in is None or more_out is None:
        return replace(begun, kept=_of_the_week(samples.kept, wall))
    sample = Sample(int(wall), more_in * 8 / taken, more_out * 8 / taken)
    return replace(begun, kept=(*_of_the_week(samples.kept, wall), sample)[-FULL_WEEK:])


def difference(before: int, after: int, most: float) -> int | None:
    """Return by how much a counter has grown; None if it began anew. `most` is what it cannot have grown by.

    Some drivers count in 32 bits; such a counter was near its end before it went round.
    """
    if after >= before:
        return after - before
    wrapped = after + _WRAP - before
    return wrapped if _WRAP * 3 // 4 <= before < _WRAP and wrapped <= most else None


def _of_the_week(kept: tuple[Sample, ...], wall: float) -> tuple[Sample, ...]:
    """Drop what is older than a week, and what a clock set back has put into the future."""
    return tuple(each for each in kept if wall - _WEEK_SECONDS <= each.at <= wall + SAMPLE_SECONDS)


def load(path: Path) -> Samples:
    """Read the file. None is an empty week; `ValueError` says that it is damaged, `OSError` that it cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Samples()
    body, checksum = data[: -_SUM.size], data[-_SUM.size :]
    if len(body) < _HEAD.size or _SUM.pack(zlib.crc32(body)) != checksum:
        raise ValueError("is damaged")
    magic, boot, since, bytes_in, bytes_out, count = _HEAD.unpack_from(body)
    if magic != _MAGIC or len(body) != _HEAD.size + count * _SAMPLE.size or count > FULL_WEEK:
        raise ValueError("holds something else")
    kept = tuple(Sample(*each) for each in _SAMPLE.iter_unpack(body[_HEAD.size :]))
    return Samples(boot, since, bytes_in, bytes_out, kept)


def save(path: Path, samples: Samples) -> None:
    """Write the file so that it is either as before or as now, whatever happens. `OSError` where it cannot be."""
    body = _HEAD.pack(
        _MAGIC, samples.boot, samples.since, samples.bytes_in, samples.bytes_out, len(samples.kept)
    ) + b"".join(_SAMPLE.pack(*each) for each in samples.kept)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(body + _SUM.pack(zlib.crc32(body)))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
