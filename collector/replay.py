"""Judge a recording: line protocol in, what would have been found out, by the very steps that judge live."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from checks.limits import say
from collector import what_if
from collector.detect.levels import LEVELS
from collector.detect.warned import words
from collector.history import cause_told
from collector.journal import JournalError
from collector.judging import judged_of
from collector.recording import Lines
from collector.recording_files import read_files
from collector.recording_journal import JournalRecording
from collector.words import local, seen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from collector.catalogue import Catalogue
    from collector.config import Config
    from collector.detect.levels import LevelChanged
    from collector.detect.shifts import Shift
    from collector.detect.warned import Warned
    from collector.engine import Judged
    from collector.incident import Transition
    from collector.recording import Points, Recording

NS = 1_000_000_000
_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
Found = dict[str, Any]


def main(options: argparse.Namespace, new: Config, old: Config | None) -> int:
    """Print what judging a recording finds, or what two configurations differ in; 1 if it cannot be read."""
    try:
        recording = _recording(options, new)
    except OSError as exc:
        print(f"nhip collector replay: {exc.filename}: {exc.strerror}" if exc.filename else exc, file=sys.stderr)
        return 1
    except (JournalError, ValueError, EOFError) as exc:
        print(f"nhip collector replay: {exc}", file=sys.stderr)
        return 1
    try:
        if options.step is not None:
            recording.step = int(options.step * NS)
        elif recording.step:
            words = f"what arrives within {recording.step / NS:g} s is judged at once (--step 0: instant by instant)"
            print(f"{recording.count:,} {'bodies' if not options.files else 'points'}: {words}", file=sys.stderr)
        if old is None:
            _print_found(recording, new, options)
        else:
            _print_differences(recording, old, new, options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        recording.close()
    return 0


def _recording(options: argparse.Namespace, config: Config) -> Points | JournalRecording:
    """Open what is to be judged, and name every line of it that is left out."""
    start, end = _instant("--from", options.start), _instant("--to", options.end)
    if not options.files:
        return JournalRecording(options.data or config.data, start, end)
    points, problems = read_files(options.files, start, end)
    for problem in problems:
        print(problem, file=sys.stderr)
    return points


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return time.time_ns() - int(ago[1]) * _UNITS[ago[2]] * NS
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"{name}: {text!r} is no time: write 6h, 30m or 2d (ago), or 2026-11-24T03:00:00+07:00")
    return int(at.timestamp() * NS)


def _print_found(recording: Recording, config: Config, options: argparse.Namespace) -> None:
    for found in found_in(recording, config):
        if found["type"] == "incident" or not options.incidents:
            print(json.dumps(found, ensure_ascii=False) if options.format == "json" else in_words(found))


def _print_differences(recording: Recording, old: Config, new: Config, options: argparse.Namespace) -> None:
    told = what_if.compare(recording, old, new)
    found = what_if.differences(*told, slack=recording.step)
    rang = [sum(one.rang_at is not None for one in each) for each in told]
    if options.format == "json":
        for each in found:
            both = {"old": each.old, "new": each.new}
            sides = {side: what_if.shown(one) for side, one in both.items() if one is not None}
            row = {"type": "difference", "what": each.what, "at": each.at, **sides, "changes": each.changes}
            print(json.dumps(row, ensure_ascii=False))
        counted = {what: sum(each.what == what for each in found) for what in ("only_old", "only_new", "changed")}
        print(json.dumps({"type": "summary", "rang_old": rang[0], "rang_new": rang[1], **counted}))
        return
    names = {"old": str(options.against), "new": str(options.config)}
    headings = {
        "only_new": f"rings with {names['new']} alone",
        "only_old": f"rings with {names['old']} alone",
        "changed": "rings with both, otherwise",
    }
    print(f"rang: {rang[0]} times with {names['old']}, {rang[1]} times with {names['new']}")
    for what, heading in headings.items():
        mine = [each for each in found if each.what == what]
        print(f"\n{heading}: {len(mine)}")
        for each in mine:
            one = (each.old if what == "only_old" else each.new) or each.old
            assert one is not None  # noqa: S101  (for mypy: a difference has a side at least)
            print(f"  {what_if.in_words(one)}" + "".join(f"\n      {change}" for change in each.changes))


def replay(lines: list[tuple[int, bytes]], config: Config) -> Iterator[Found]:
    """Yield what is found in lines, each of which arrives at its own timestamp; they come in that order."""
    return found_in(Lines(lines), config)


def found_in(recording: Recording, config: Config) -> Iterator[Found]:
    """Yield what is found, in order."""
    for judged in judged_of(recording, config):
        yield from _found(judged, recording.catalogue)


def _found(judged: Judged, catalogue: Catalogue) -> Iterator[Found]:
    for change in judged.levels:
        yield _signal(change, catalogue)
    for silence in judged.silences:
        site, node = silence.node
        was, now = ("green", "unknown") if silence.silent else ("unknown", "green")
        yield {
            "type": "signal",
            "at": silence.known_at,
            "site": site,
            "node": node,
            "check": "agent",
            "target": "",
            "metric": "heard",
            "from": was,
            "to": now,
        }
    for shift in judged.shifts:
        yield _shift(shift, catalogue)
    for warned in judged.warned:
        yield _warned(warned, catalogue)
    for transition in judged.transitions:
        if transition.tell is not None:
            yield _incident(transition)


def _signal(change: LevelChanged, catalogue: Catalogue) -> Found:
    signal = catalogue.signals[change.signal]
    told = {
        "type": "signal",
        "at": change.known_at,
        "site": signal.series.site,
        "node": signal.series.node,
        "check": signal.series.check,
        "target": signal.series.target,
        "metric": signal.metric,
        "from": LEVELS[change.was],
        "to": LEVELS[change.now],
        "began_at": change.began_at,
        "value": change.value,
    }
    return {name: value for name, value in told.items() if value is not None}


def _warned(warned: Warned, catalogue: Catalogue) -> Found:
    signal = catalogue.signals[warned.signal]
    was, now = ("green", "yellow") if warned.now else ("yellow", "green")
    told = {
        "type": "signal",
        "at": warned.known_at,
        "site": signal.series.site,
        "node": signal.series.node,
        "check": signal.series.check,
        "target": signal.series.target,
        "metric": signal.metric,
        "from": was,
        "to": now,
        "why": warned.kind,
        "began_at": warned.began_at,
        "value": warned.value,
        "usual": warned.usual,
        "words": words(warned, signal.metric) if warned.now else None,
    }
    return {name: value for name, value in told.items() if value is not None and value == value}  # noqa: PLR0124  (no NaN)


def _shift(shift: Shift, catalogue: Catalogue) -> Found:
    signal = catalogue.signals[shift.signal]
    return {
        "type": "shift",
        "at": shift.known_at,
        "site": signal.series.site,
        "node": signal.series.node,
        "check": signal.series.check,
        "target": signal.series.target,
        "metric": signal.metric,
        "began_at": shift.began_at,
        "before": shift.before,
        "after": shift.after,
    }


def _incident(transition: Transition) -> Found:
    incident = transition.incident
    told = cause_told(incident)
    return {
        "type": "incident",
        "at": transition.at,
        "id": incident.id,
        "tell": transition.tell,
        "state": "open" if incident.open else "resolved",
        "severity": incident.severity,
        "cause": {**told, "site": incident.place.site, "text": told["text"]["en"]},
        "sites": incident.sites,
        "began_at": incident.began_at,
        "evidence": [seen(item, "en") for item in incident.evidence.values() if item.level == "red"],
    }


def _where(sites: list[str]) -> str:
    return f"site {sites[0]}" if len(sites) == 1 else f"{len(sites)} sites"


def in_words(found: Found) -> str:
    """Say one finding in a line for a person."""
    at = local(found["at"])
    if found["type"] == "incident":
        shown = "; ".join(found["evidence"])
        return (
            f"{at}  INCIDENT {found['id']} {found['tell']:<9}  {_where(found['sites'])}: {found['cause']['text']}"
            + (f" [{shown}]" if shown else "")
        )
    what = " ".join(part for part in (found["check"], found["target"], found["metric"]) if part)
    if found["type"] == "shift":
        before, after = (say(found["metric"], found[side]) for side in ("before", "after"))
        return f"{at}  shift   {before} → {after}  site {found['site']} {what}, since {local(found['began_at'])}"
    if "words" in found:
        what = f"{found['check']} {found['target']}: {found['words']['en']}"
    return f"{at}  signal  {found['from']} → {found['to']}  site {found['site']} {what}"
