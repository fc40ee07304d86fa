"""What is acknowledged is in it, once; names keep their numbers; a full disk is said and survived."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from collector.catalogue import Catalogue, Series
from collector.journal import Entry, Journal, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def entry(at: int, body: bytes = b"m,site=1 f=1", **more: object) -> Entry:
    return Entry(arrived_at=at, body=body, **more)  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def test_what_is_appended_is_read_back_in_order_by_another_reader(journal: Journal) -> None:
    positions = journal.append([entry(1, b"a"), entry(2, b"b", site="7", sent_at=5, precision="s")], Catalogue())
    reader = Journal(journal.path)
    assert [(e.position, e.body, e.site, e.sent_at, e.precision) for e in reader.read(0)] == [
        (positions[0], b"a", None, None, "ns"),
        (positions[1], b"b", "7", 5, "s"),
    ]
    assert list(reader.read(journal.last())) == []
    reader.close()


def test_a_batch_sent_twice_counts_once_even_after_it_was_trimmed(journal: Journal) -> None:
    catalogue = Catalogue()
    (first,) = journal.append([entry(1, agent="a", sequence=7)], catalogue)
    assert journal.append([entry(2, agent="a", sequence=7), entry(2, agent="b", sequence=7)], catalogue)[0] is None
    journal.trim(journal.last())
    assert first is not None
    assert journal.append([entry(3, agent="a", sequence=7)], catalogue) == [None]
    assert journal.append([entry(3, agent="a", sequence=8)], catalogue)[0] is not None


def test_positions_are_never_given_out_twice(journal: Journal) -> None:
    (first,) = journal.append([entry(1)], Catalogue())
    journal.trim(journal.last())
    (second,) = journal.append([entry(2)], Catalogue())
    assert first is not None
    assert second is not None
    assert second > first


def test_names_keep_their_numbers_across_a_restart(journal: Journal) -> None:
    catalogue = Catalogue()
    series = [catalogue.series_id(Series("1", "n", "c", str(i))) for i in range(3)]
    signals = [catalogue.signal_id(s, m) for s in series for m in ("a", "b")]
    journal.append([entry(1)], catalogue)
    restored = Catalogue()
    journal.restore(restored)
    assert restored.series == catalogue.series
    assert [restored.signal_id(s, m) for s in series for m in ("a", "b")] == signals
    assert restored.signals == catalogue.signals


def test_trimming_goes_no_further_than_asked(journal: Journal) -> None:
    journal.append([entry(at) for at in range(10)], Catalogue())
    assert journal.trim(4) == 4
    assert [e.arrived_at for e in journal.read(0)] == [4, 5, 6, 7, 8, 9]
    assert journal.position_at(6) == 7


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_keeps_what_was_acknowledged_and_works_again_with_room(small_disk: Path) -> None:
    journal, catalogue = Journal(small_disk / "journal.db"), Catalogue()
    try:
        kept = 0
        with contextlib.suppress(JournalError):
            for at in range(100):
                catalogue.series_id(Series("1", "n", "c", str(at)))
                journal.append([entry(at, b"x" * 50_000)], catalogue)
                kept += 1
        with pytest.raises(JournalError, match="the disk"):
            journal.append([entry(kept, b"x" * 500_000)], catalogue)
        assert 0 < kept < 100
        assert len(list(journal.read(0))) == kept
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        journal.append([entry(100, b"y")], catalogue)
        restored = Catalogue()
        journal.restore(restored)
        assert restored.series == catalogue.series
    finally:
        journal.close()


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="does the folder exist"):
        Journal(tmp_path / "no" / "journal.db")
