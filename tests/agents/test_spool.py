"""What is spooled is kept, in order, within its bounds, under numbers that are used once."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agents.spool import BATCH_BYTES, Batch, Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 1_048_576


def open_spool(path: Path, said: list[str] | None = None, max_bytes: int = MEBIBYTE, drop: str = "oldest") -> Spool:
    say = (said if said is not None else []).append
    return Spool(path, max_bytes=max_bytes, drop="newest" if drop == "newest" else "oldest", say=say)


def drain(spool: Spool) -> Iterator[Batch]:
    while (batch := spool.oldest()) is not None:
        yield batch
        spool.acknowledge(batch.sequence)
        spool.release()


def lines_of(batches: Iterator[Batch] | list[Batch]) -> list[str]:
    return [line for batch in batches for line in batch.body.decode().split("\n")[:-1]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def test_results_that_wait_for_a_line_share_a_batch_until_it_is_full(path: Path) -> None:
    spool = open_spool(path)
    written = [f"m f={n} {'x' * 90}" for n in range(2000)]
    for line in written:
        spool.add([line])
    assert spool.counters().batches == 4
    batches = list(drain(spool))
    assert lines_of(batches) == written
    assert all(len(batch.body) <= BATCH_BYTES for batch in batches)
    assert [batch.sequence for batch in batches] == [1, 2, 3, 4]
    spool.close()


def test_a_batch_that_was_attempted_never_grows_not_even_after_a_restart(path: Path) -> None:
    spool = open_spool(path)
    spool.add(["first"])
    attempted = spool.oldest()
    spool.release()
    spool.add(["second"])
    assert spool.oldest() == attempted == Batch(1, b"first\n")
    spool.close()
    spool = open_spool(path)
    spool.add(["third"])
    assert list(drain(spool)) == [Batch(1, b"first\n"), Batch(2, b"second\n"), Batch(3, b"third\n")]
    spool.close()


def test_a_number_is_never_used_again_though_the_spool_was_empty_and_closed(path: Path) -> None:
    for expected in range(1, 5):
        spool = open_spool(path)
        spool.add(["line"])
        assert [batch.sequence for batch in drain(spool)] == [expected]
        spool.close()


def test_the_oldest_gives_way_when_the_spool_is_full(path: Path) -> None:
    spool = open_spool(path)
    line = "x" * 999
    for number in range(1500):
        spool.add([f"{number:04}{line[4:]}"])
    counters = spool.counters()
    assert counters.bytes <= MEBIBYTE
    kept = lines_of(drain(spool))
    assert kept[-1].startswith("1499")
    assert [int(text[:4]) for text in kept] == list(range(1500 - len(kept), 1500))
    assert counters.dropped_bytes == (1500 - len(kept)) * 1000
    spool.close()
    assert open_spool(path).counters().dropped_bytes == counters.dropped_bytes


def test_the_newest_gives_way_where_the_configuration_says_so(path: Path) -> None:
    spool = open_spool(path, drop="newest")
    for number in range(1500):
        spool.add([f"{number:04}{'x' * 995}"])
    counters = spool.counters()
    assert (counters.dropped_batches, counters.dropped_bytes) == (1500 - 1048, (1500 - 1048) * 1000)
    assert [int(text[:4]) for text in lines_of(drain(spool))] == list(range(1048))
    spool.close()


def test_what_is_being_sent_is_the_last_to_be_dropped(path: Path) -> None:
    spool = open_spool(path)
    spool.add(["in flight"])
    flying = spool.oldest()
    spool.add(["old"])
    for _ in range(20):
        spool.add(["x" * (BATCH_BYTES - 1)])
    assert spool.oldest() == flying
    assert spool.counters().dropped_batches == 6
    spool.close()


def test_a_batch_that_is_too_large_comes_again_as_two_under_new_numbers(path: Path) -> None:
    spool = open_spool(path)
    spool.add(["a", "b", "c"])
    batch = spool.oldest()
    assert batch is not None
    spool.add(["d"])
    assert spool.split(batch)
    assert list(drain(spool)) == [Batch(2, b"d\n"), Batch(3, b"a\n"), Batch(4, b"b\nc\n")]
    assert spool.counters().dropped_batches == 0
    spool.close()


def test_a_single_line_that_is_too_large_is_dropped_and_counted(path: Path) -> None:
    spool = open_spool(path)
    spool.add(["long"])
    batch = spool.oldest()
    assert batch is not None
    assert not spool.split(batch)
    assert spool.counters() == (0, 0, 1, 5)
    spool.close()


def test_the_file_gives_back_its_space_after_a_backlog(path: Path) -> None:
    spool = open_spool(path, max_bytes=8 * MEBIBYTE)
    for _ in range(100):
        spool.add(["x" * 60_000])
    grown = path.stat().st_size
    list(drain(spool))
    spool.add(["small"])
    spool.close()
    assert grown > 5 * MEBIBYTE > MEBIBYTE > path.stat().st_size


@pytest.mark.parametrize("damage", ["not a database at all" * 100, ""], ids=["foreign", "torn"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(path: Path, damage: str) -> None:
    spool = open_spool(path)
    spool.add(["x" * 60_000 for _ in range(8)])
    agent = spool.agent
    spool.close()
    if damage:
        path.write_text(damage)
    else:
        with path.open("r+b") as file:  # the root of the table, as after a sector died
            file.seek(4096)
            file.write(b"\xff" * 300_000)
    said: list[str] = []
    spool = open_spool(path, said)
    assert "was damaged" in said[0]
    assert "a new one begins" in said[0]
    assert len(list(path.parent.glob("spool.sqlite.damaged-*"))) == 1
    assert spool.agent != agent
    spool.add(["fresh"])
    assert list(drain(spool)) == [Batch(1, b"fresh\n")]
    spool.close()


def test_a_file_that_is_damaged_while_in_use_is_set_aside_and_the_results_are_kept(path: Path) -> None:
    said: list[str] = []
    spool = open_spool(path, said)
    spool.add(["before"])
    other = sqlite3.connect(path)
    other.execute("pragma wal_checkpoint(truncate)")
    other.close()
    path.write_bytes(b"\xff" * path.stat().st_size)
    for number in range(600):  # until its small cache has to look at the disk
        spool.add([f"{number} {'x' * 4000}"])
    assert len(said) == 1
    assert "was damaged" in said[0]
    assert lines_of(drain(spool))[-1].startswith("599 ")
    spool.close()


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        open_spool(tmp_path / "missing" / "spool.sqlite")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a real file system of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "nhip-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_on_a_full_disk_results_are_dropped_and_counted_and_it_recovers(small_disk: Path) -> None:
    said: list[str] = []
    spool = open_spool(small_disk / "spool.sqlite", said)
    spool.add(["before"])
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    for _ in range(100):
        spool.add(["x" * 50_000])
    counters = spool.counters()
    assert counters.dropped_batches > 0
    assert len(said) == 1
    assert "full" in said[0]
    assert "results are dropped until it can" in said[0]
    filler.unlink()
    spool.add(["after"])
    assert said[1:] == [f"the spool {small_disk / 'spool.sqlite'} can be written again"]
    kept = lines_of(drain(spool))
    assert (kept[0], kept[-1]) == ("before", "after")
    spool.close()
    spool = open_spool(small_disk / "spool.sqlite")
    assert spool.counters().dropped_bytes == counters.dropped_bytes
    spool.close()


class SpoolModel(RuleBasedStateMachine):
    """Whatever is done to it, in whatever order, the spool is a bounded list of numbered texts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.said: list[str] = []
        self.spool = open_spool(self.folder / "spool.sqlite", self.said)
        self.lines: list[str] = []  # that must come out, in this order
        self.lost = 0
        self.written = 0
        self.highest = 0

    @rule(sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=6))
    def add(self, sizes: list[int]) -> None:
        new = []
        for size in sizes:
            self.written += 1
            new.append(f"{self.written}:{'x' * size}")
        self.spool.add(new)
        self.lines += new
        dropped = self.spool.counters().dropped_bytes
        while self.lost < dropped:
            self.lost += len(self.lines.pop(0)) + 1
        assert self.lost == dropped

    @precondition(lambda self: self.lines)
    @rule(acknowledged=st.booleans())
    def send(self, acknowledged: bool) -> None:  # noqa: FBT001  (hypothesis hands it over by name)
        batch = self.spool.oldest()
        assert batch is not None
        sent = batch.body.decode().split("\n")[:-1]
        assert self.lines[: len(sent)] == sent
        assert batch.sequence >= self.highest
        self.highest = batch.sequence
        if acknowledged:
            self.spool.acknowledge(batch.sequence)
            del self.lines[: len(sent)]
            self.highest += 1
        self.spool.release()

    @rule()
    def restart(self) -> None:
        agent = self.spool.agent
        self.spool.close()
        self.spool = open_spool(self.folder / "spool.sqlite", self.said)
        assert self.spool.agent == agent

    @invariant()
    def bounded_and_quiet(self) -> None:
        counters = self.spool.counters()
        assert counters.bytes == sum(len(line) + 1 for line in self.lines) <= MEBIBYTE
        assert (counters.batches > 0) == bool(self.lines)
        assert self.said == []

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)


SpoolModel.TestCase.settings = settings(max_examples=25, stateful_step_count=60, deadline=None)
TestSpoolModel = SpoolModel.TestCase
