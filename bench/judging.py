"""How long a measurement waits for its verdict while other things go on: the largest delay from arrival to verdict.

Every second a point of five fields arrives from each of 66,420 series (3,321 sites with 20 targets): the nation at
one-second resolution. Meanwhile a page asks for 90 days of a signal over and over, roll-ups run, a channel hangs, a
long-term database hangs. The 90 days are really there: hours of 5,150 signals and minutes of 100, and a whole minute of
the nation that waits to be rolled up, written before the start. Each body's delay is noted in the collector's own
process, from the request's arrival to its verdict.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.common import Server, free_port, machine, table
from collector import running
from collector.catalogue import Catalogue, Series
from collector.config import Store as StoreSettings
from collector.database import open_database
from collector.journal import Journal
from collector.loading import load
from collector.store import HOURS, MINUTES, RAW, Store
from collector.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SITES, TARGETS, BATCH = 3_321, 20, 1_000
METRICS = ("loss_ratio", "rtt_min_seconds", "rtt_median_seconds", "rtt_p95_seconds", "rtt_max_seconds")
DAYS, MINUTE_DAYS = 90, 35
HOUR_SIGNALS, MINUTE_SIGNALS = 5_150, 100
_NOTE = struct.Struct("<cdd")


class Notes(NamedTuple):
    """What the collector noted: verdicts (when, delay) and roll-ups (begin, end), in seconds of the monotonic clock."""

    verdicts: Any
    roll_ups: list[tuple[float, float]]


def all_series() -> list[Series]:
    """Return every series of the nation, in the order of their numbers."""
    return [
        Series(f"{site:05d}", "gateway", "icmp_echo", f"10.0.{n}.1") for site in range(SITES) for n in range(TARGETS)
    ]


def templates() -> list[bytes]:
    """Return the bodies of one second, with @ where each point's timestamp goes."""
    chance = random.Random(1)
    lines = []
    for series in all_series():
        rtt = chance.uniform(0.002, 0.012)
        values = (0.0, rtt * 0.9, rtt, rtt * 1.2, rtt * 1.4)
        fields = ",".join(f"{name}={value:.6f}" for name, value in zip(METRICS, values, strict=True))
        lines.append(f"icmp_echo,node=gateway,site={series.site},target={series.target} {fields} @")
    return ["\n".join(lines[n : n + BATCH]).encode() for n in range(0, len(lines), BATCH)]


def prepare(data: Path) -> str:
    """Write names, 90 days of history and a token into a new data folder; return the token."""
    data.mkdir()
    catalogue = Catalogue(max_signals_per_site=1 << 40)
    for series in all_series():
        number = catalogue.series_id(series)
        for metric in METRICS:
            catalogue.signal_id(number, metric)
    journal = Journal(data / "journal.db")
    journal.append([], catalogue)
    journal.close()
    store = Store(data / "metrics.duckdb", StoreSettings())
    now = int(time.time())
    for tier, days, signals in ((HOURS, DAYS, HOUR_SIGNALS), (MINUTES, MINUTE_DAYS, MINUTE_SIGNALS)):
        until = (now - 60) // tier.seconds * tier.seconds
        for day in range(days, 0, -1):
            _fill_day(store, tier, until - day * 86_400, signals)
        store._set_progress(tier.prefix, until)  # noqa: SLF001  (as its own roll-up leaves it)
    _fill_minute(store, (now - 60) // 60 * 60)
    store.close()
    return Tokens(open_database(data / "collector.db")).new("admin")


def _fill_day(store: Store, tier: Any, start: int, signals: int) -> None:
    db, seconds = store._db, tier.seconds  # noqa: SLF001  (the quick way in)
    for begin, end in _within_tables(tier, start, start + 86_400):
        table_name = tier.table(begin)
        db.execute(
            f"create table if not exists {table_name} (signal integer, bucket bigint, n bigint, lo double, p50 double,"
            " p95 double, hi double, total double)"
        )
        db.execute(
            f"insert into {table_name} select s, b, {seconds}, 0.004, 0.005 + random() / 1000, 0.007, 0.009,"  # noqa: S608  (our own numbers)
            f" 0.005 * {seconds} from range({begin}, {end}, {seconds}) t(b), range({signals}) r(s) order by b, s"
        )


def _fill_minute(store: Store, start: int) -> None:
    """Write a minute of the nation as raw points: the first roll-up finds it waiting."""
    signals, table_name = SITES * TARGETS * len(METRICS), RAW.table(start)
    store._db.execute(f"create table if not exists {table_name} (signal integer, measured_at bigint, value double)")  # noqa: SLF001  (the quick way in)
    store._db.execute(  # noqa: SLF001  (likewise)
        f"insert into {table_name} select s, t * 1000000000, random() from range({start}, {start + 60}) a(t),"  # noqa: S608  (our own numbers)
        f" range({signals}) b(s)"
    )


def _within_tables(tier: Any, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a day where the tier's tables are cut."""
    cuts = [s for s in range(start, end, tier.seconds) if s == start or tier.table(s) != tier.table(s - tier.seconds)]
    yield from zip(cuts, [*cuts[1:], end], strict=True)


def serve(config: Path, notes: Path) -> None:
    """Be the collector, and note every delay and every roll-up."""
    collector, sock = running.open_collector(load(config))
    measures, store = collector.pipeline._measures, collector.store  # noqa: SLF001  (a benchmark looks inside)
    count_judged, make_roll_up = measures.judged, store.roll_up
    with notes.open("ab", buffering=0) as out:

        def judged(delay_seconds: float) -> None:
            count_judged(delay_seconds)
            out.write(_NOTE.pack(b"v", time.monotonic(), delay_seconds))

        def roll_up() -> int:
            began = time.monotonic()
            try:
                return make_roll_up()
            finally:
                out.write(_NOTE.pack(b"r", began, time.monotonic()))

        measures.judged = judged  # type: ignore[method-assign]  # a benchmark listens in
        store.roll_up = roll_up  # type: ignore[method-assign]  # likewise
        running.run_until_signal(collector, sock, lambda: None)


def read(notes: Path) -> Notes:
    """Read what has been noted so far."""
    rows = list(_NOTE.iter_unpack(raw[: len(raw) // _NOTE.size * _NOTE.size])) if (raw := notes.read_bytes()) else []
    verdicts = np.array([(at, delay) for kind, at, delay in rows if kind == b"v"]).reshape(-1, 2)
    return Notes(verdicts, [(began, ended) for kind, began, ended in rows if kind == b"r"])


class Sender:
    """Sends the nation's points at a steady rate, over a few connections, until it is stopped."""

    def __init__(self, port: int, token: str, rate: float, bodies: list[bytes], connections: int = 4) -> None:
        """Send `rate` points a second."""
        self._port, self._token, self._bodies = port, token, bodies
        self._every = BATCH / rate
        self._next = time.monotonic()
        self._number = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.sent = 0
        self.refused = 0
        self._threads = [threading.Thread(target=self._work) for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            with self._lock:
                # What a slow moment missed is not made up for in a burst: the rate is steady, or it is said.
                due = max(self._next, time.monotonic() - 0.2)
                self._next = due + self._every
                body = self._bodies[self._number % len(self._bodies)]
                self._number += 1
            self._stop.wait(max(0.0, due - time.monotonic()))
            stamped = body.replace(b"@", str(time.time_ns()).encode())
            connection.request("POST", "/api/v2/write", stamped, {"Authorization": f"Token {self._token}"})
            answer = connection.getresponse()
            answer.read()
            with self._lock:
                self.sent += stamped.count(b"\n") + 1 if answer.status == 204 else 0
                self.refused += answer.status != 204
        connection.close()


class Run:
    """One life of the collector under load."""

    def __init__(self, folder: Path, token: str, more: str, rate: float, bodies: list[bytes]) -> None:
        """Start it on `folder`'s data, and begin to send."""
        port = free_port()
        self.token = token
        self._notes = folder / "notes"
        self._notes.write_bytes(b"")
        config = folder / "collector.yml"
        config.write_text(
            f"listen: 127.0.0.1:{port}\ndata: {folder / 'data'}\nwrite: {{max_signals_per_site: 10000000}}\n{more}",
            encoding="utf-8",
        )
        self.server = Server([sys.executable, "-m", "bench.judging", "--serve", str(config), str(self._notes)], port)
        self._sender = Sender(port, token, rate, bodies)
        while self._sender.sent < 2 * SITES * TARGETS:  # every series is learned by then
            time.sleep(0.1)
        time.sleep(2)

    def stop(self) -> None:
        """End both."""
        self._sender.stop()
        self.server.stop()

    def watch(self, seconds: float, enough: Callable[[Notes], bool] = lambda _: True) -> tuple[Any, float]:
        """Go on for some seconds, longer until `enough` of it; return its verdicts, and points a second."""
        began, before = time.monotonic(), self._sender.sent
        while time.monotonic() - began < seconds or (not enough(read(self._notes)) and time.monotonic() - began < 90):
            time.sleep(0.5)
        ended = time.monotonic()
        rate = (self._sender.sent - before) / (ended - began)
        verdicts = read(self._notes).verdicts
        return verdicts[(verdicts[:, 0] >= began) & (verdicts[:, 0] < ended)], rate

    def roll_ups(self) -> list[tuple[float, float]]:
        """Return the roll-ups that had something to do."""
        return [(began, ended) for began, ended in read(self._notes).roll_ups if ended - began > 0.2]


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Serve a port where the kernel accepts and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def page(run: Run) -> Iterator[list[float]]:
    """Ask for 90 days of a signal over and over; yields the seconds that each answer took."""
    took: list[float] = []
    over = threading.Event()
    query = "site=00003&check=icmp_echo&target=10.0.7.1&metric=rtt_median_seconds&metric=loss_ratio&from=-90d"

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            answer = run.server.get(f"/api/v1/series?{query}", run.token)
            if answer.count(b"],[") < 500:
                raise SystemExit(f"90 days are not there: {answer[:300]!r}")
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def outages(run: Run) -> None:
    """Let ten services fail, so that every channel has something to tell."""
    connection = http.client.HTTPConnection("127.0.0.1", run.server.port, timeout=60)
    for _ in range(2):
        at = time.time_ns()
        lines = "\n".join(f"tcp_connect,node=gateway,site={n:05d},target=a:443 success=0 {at}" for n in range(10))
        connection.request("POST", "/api/v2/write", lines, {"Authorization": f"Token {run.token}"})
        connection.getresponse().read()
    connection.close()


def row(name: str, verdicts: Any, rate: float) -> list[object]:
    """Return a line of the table."""
    delays = verdicts[:, 1] * 1000
    middle, high = np.percentile(delays, [50, 99])
    return [name, f"{rate:,.0f}", f"{len(delays):,}", f"{middle:.1f}", f"{high:.0f}", f"{delays.max():.0f}"]


def conditions(folder: Path, seconds: float, wanted: float) -> Iterator[list[object]]:
    """Measure each condition in turn and yield its line of the table."""
    bodies = templates()
    began = time.monotonic()
    token = prepare(folder / "data")
    print(f"90 days of history written in {time.monotonic() - began:.0f} s", flush=True)
    with silent_server() as port:
        (folder / "url").write_text(f"json://127.0.0.1:{port}", encoding="utf-8")
        channel = f"channels: [{{channel: hangs, url_file: {folder / 'url'}, timeout_seconds: 60}}]\n"
        run = Run(folder, token, channel, wanted, bodies)
        try:
            verdicts, rate = run.watch(seconds, lambda notes: any(b - a > 0.2 for a, b in notes.roll_ups))
            busy = np.zeros(len(verdicts), dtype=bool)
            for a, b in run.roll_ups():
                busy |= (verdicts[:, 0] >= a) & (verdicts[:, 0] - verdicts[:, 1] <= b)
            yield row("nothing else", verdicts[~busy], rate)
            if busy.any():
                longest = max(b - a for a, b in run.roll_ups())
                yield row(f"roll-ups run (the longest took {longest:.1f} s)", verdicts[busy], rate)
            with page(run) as took:
                found = row("", *run.watch(seconds))
            yield [f"a page asks for 90 days ({len(took)} answers, {np.median(took) * 1000:.0f} ms each)", *found[1:]]
            outages(run)
            yield row("a channel hangs", *run.watch(seconds))
        finally:
            run.stop()
        run = Run(folder, token, f"forward: {{url: 'http://127.0.0.1:{port}', timeout_seconds: 5}}\n", wanted, bodies)
        try:
            yield row("a long-term database hangs", *run.watch(seconds))
        finally:
            run.stop()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="for each condition; default %(default)s")
    parser.add_argument("--rate", type=float, default=SITES * TARGETS, help="points a second; default %(default)s")
    parser.add_argument("--serve", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        running.log_to_stderr()
        serve(*options.serve)
        return
    with tempfile.TemporaryDirectory(prefix="nhip-bench-") as folder:
        rows = list(conditions(Path(folder), options.seconds, options.rate))
    table(
        f"From arrival to verdict, {options.rate:,.0f} points/s asked for, bodies of {BATCH:,} points",
        ["while", "points/s", "bodies", "median ms", "p99 ms", "largest ms"],
        rows,
    )
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
