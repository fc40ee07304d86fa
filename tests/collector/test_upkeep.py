"""The journal kept within its bounds: by age what nobody needs any more, by size the oldest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from collector.catalogue import Catalogue
from collector.config import Journal as Settings
from collector.journal import Entry, Journal
from collector.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR = 3600 * 1_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def fill(journal: Journal, hours_ago: list[float], body: bytes = b"m f=1") -> list[int]:
    entries = [Entry(arrived_at=time.time_ns() - int(ago * HOUR), body=body) for ago in hours_ago]
    return [position for position in journal.append(entries, Catalogue()) if position is not None]


def kept(journal: Journal) -> list[int]:
    return [entry.position for entry in journal.read(0)]


def test_what_is_old_goes_and_what_is_young_stays(journal: Journal) -> None:
    positions = fill(journal, [30, 26, 25, 23, 1])
    Upkeep(Settings(keep_hours=24), journal, journal.last).turn(journal)
    assert kept(journal) == positions[3:]


def test_what_somebody_still_needs_stays_however_old_it_is(journal: Journal) -> None:
    positions = fill(journal, [30, 29, 28, 27])
    Upkeep(Settings(keep_hours=24), journal, lambda: positions[1]).turn(journal)
    assert kept(journal) == positions[2:]


def test_a_journal_that_is_too_large_loses_its_oldest_needed_or_not_and_no_more_than_it_must(journal: Journal) -> None:
    positions = fill(journal, [0.1] * 200, b"x" * 20_000)
    assert journal.size_bytes() > 4_000_000
    upkeep = Upkeep(Settings(max_bytes=2_000_000), journal, lambda: 0)
    upkeep.turn(journal)
    left = kept(journal)
    assert left == positions[-len(left) :]
    assert 0 < upkeep.journal_bytes == journal.size_bytes() <= 2_000_000
    assert len(left) >= 200 - 150  # 50 at a time: one more step would have been too much


def test_the_newest_entry_stays_even_when_it_alone_is_too_large(journal: Journal) -> None:
    positions = fill(journal, [0, 0, 0], b"x" * 2_000_000)
    Upkeep(Settings(max_bytes=1_000_000), journal, journal.last).turn(journal)
    assert kept(journal) == positions[-1:]


def test_upkeep_works_beside_a_judge_that_appends(journal: Journal, until_true: Callable[..., object]) -> None:
    fill(journal, [30] * 300)
    upkeep = Upkeep(Settings(keep_hours=24), journal, journal.last)
    upkeep.start()
    try:
        young: list[int] = []

        def trimmed() -> bool:
            young.extend(fill(journal, [0]))
            return len(kept(journal)) == len(young)

        until_true(trimmed, what="trimming")
    finally:
        upkeep.stop()
    assert kept(journal) == young
