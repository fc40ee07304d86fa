"""Automatic diagnosis: what `nhip diagnose` finds of a site stands in its incident when the phone rings.

Looking begins with the first sign, a signal that turns red or a site that falls silent, while the incident still waits
for what may explain it; so it is over when the incident opens, and no message waits for it. The collector itself never
measures: a child process does, and has a deadline.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from collector.detect.levels import RED
from collector.diagnosis import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from collector.catalogue import Catalogue
    from collector.config import Diagnosis as Settings
    from collector.diagnosis import Diagnoses
    from collector.engine import Judged

log = logging.getLogger(__name__)

NS = 1_000_000_000
_LOOK_SECONDS = 0.2
_AT_ONCE = 4
_MOST_WAITING = 8
_FRESH = 30 * NS
"""A diagnosis that began so long before the incident was looked for is of this fault still."""
_PATIENCE_SECONDS = 3.0


class _Known(NamedTuple):
    """The newest that is known of a site: when looking began, the last line, and whether it is the last one."""

    at: int
    told: dict[str, Any] | None
    final: bool


class Diagnosing:
    """One thread that sees to incidents, and one for each site that is being looked at."""

    def __init__(
        self,
        diagnoses: Diagnoses,
        settings: Settings,
        inventory: Path,
        sites: Sequence[str],
        catalogue: Catalogue,
        *,
        told: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Look at `sites`, those of `inventory`, as `settings` say; `told` is called once people are to be told."""
        self._told = told
        self._diagnoses, self._settings, self._inventory = diagnoses, settings, inventory
        self._sites, self._catalogue, self._clock = frozenset(sites), catalogue, clock
        self._asked: deque[str] = deque()  # by the judge's thread: never waits, never grows
        self._known: dict[str, _Known] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnose", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and whatever is being looked at."""
        self._stop.set()
        self._wake.set()
        with self._lock:
            for process in self._running.values():
                process.kill()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def watch(self, judged: Judged) -> None:
        """Take one step of the judge, from its thread: first signs are looked at before there is an incident."""
        signs = [self._catalogue.signals[c.signal].series.site for c in judged.levels if c.now == RED]
        signs += [silence.node[0] for silence in judged.silences if silence.silent]
        for site in dict.fromkeys(signs):
            if site in self._sites and len(self._asked) < _MOST_WAITING:
                self._asked.append(site)
                self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
            while self._asked:
                self._ask(self._asked.popleft())
            try:
                self._serve()
            except sa.exc.SQLAlchemyError as exc:
                log.error("diagnoses cannot be read or written: %s", getattr(exc, "orig", exc))

    def _serve(self) -> None:
        """Give each young incident what is known of its site, and have looked where nothing is."""
        now = self._clock()
        for incident, kind, own, reached in self._diagnoses.wanting(now):
            site = next((each for each in (own, *reached) if each in self._sites), None)  # of many, the first reached
            if site is None or kind == "node":
                self._diagnoses.keep(incident, None, final=True, now=now)
                continue
            known = self._known.get(site)
            if known is None or known.at < now - _FRESH:
                self._ask(site)
            elif known.told is not None or known.final:
                before = self._diagnoses.of(incident)
                late = known.final or before is None
                if late and self._diagnoses.keep(incident, known.told, final=known.final, now=now):
                    self._told()

    def _ask(self, site: str) -> None:
        now = self._clock()
        known = self._known.get(site)
        with self._lock:
            if self._stop.is_set() or site in self._running or len(self._running) >= _AT_ONCE:
                return
            if known is not None and known.at > now - _FRESH:
                return
            try:
                process = subprocess.Popen(  # noqa: S603  (our own command; the site is one of the inventory's)
                    self._command(site), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            except OSError as exc:
                log.error("site %s cannot be diagnosed: %s", site, exc.strerror)
                self._known[site] = _Known(now, None, final=True)
                return
            self._running[site] = process
        self._known[site] = _Known(now, None, final=False)
        threading.Thread(target=self._follow, args=(site, process, now), name=f"diagnose-{site}", daemon=True).start()

    def _command(self, site: str) -> list[str]:
        rules = self._settings
        words = [sys.executable, "-m", "nhip", "diagnose", "--json", "--inventory", str(self._inventory)]
        words += [f"--seconds={rules.seconds:g}", f"--user={rules.user}"]
        words += [f"--identity={rules.identity}"] if rules.identity is not None else []
        return [*words, "--", site]

    def _follow(self, site: str, process: subprocess.Popen[bytes], at: int) -> None:
        """Take each line as it comes; a child that outlives its deadline is ended."""
        deadline = threading.Timer(self._settings.seconds + _PATIENCE_SECONDS, process.kill)
        deadline.daemon = True
        deadline.start()
        last: dict[str, Any] | None = None
        assert process.stdout is not None  # noqa: S101  (for mypy: they are pipes)
        assert process.stderr is not None  # noqa: S101
        with suppress(ValueError, OSError):
            for line in process.stdout:
                found = read(line)
                if found is not None:
                    last = found[1]
                    self._known[site] = _Known(at, last, final=found[0].final)
            words = process.stderr.read(2000).decode(errors="replace").strip()
            if last is None and not self._stop.is_set():
                log.warning(
                    "site %s could not be diagnosed: %s", site, words.splitlines()[-1] if words else "no answer"
                )
        process.wait()
        deadline.cancel()
        process.stdout.close()
        process.stderr.close()
        self._known[site] = _Known(at, last, final=True)
        with self._lock:
            self._running.pop(site, None)
