"""Judge a recording: line protocol in, what would have been found out, by the very steps that judge live."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.limits import say
from checks.line_protocol import LineError, decode, logical_lines
from collector.catalogue import Catalogue
from collector.columns import Decoder
from collector.detect.levels import LEVELS
from collector.detect.warned import words
from collector.engine import Engine
from collector.history import cause_told
from collector.words import local, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.config import Config
    from collector.detect.levels import LevelChanged
    from collector.detect.shifts import Shift
    from collector.detect.warned import Warned
    from collector.engine import Judged
    from collector.incident import Transition

Found = dict[str, Any]


def main(files: list[str], config: Config, how: str) -> int:
    """Print what judging `files` by `config` finds, as text or as JSON lines; 1 if a file cannot be read."""
    try:
        lines, problems = read_lines(files)
    except OSError as exc:
        print(f"nhip collector replay: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    for problem in problems:
        print(problem, file=sys.stderr)
    try:
        for found in replay(lines, config):
            print(json.dumps(found, ensure_ascii=False) if how == "json" else in_words(found))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def read_lines(files: list[str]) -> tuple[list[tuple[int, bytes]], list[str]]:
    """Return all points of `files` by timestamp, and a sentence for every line that is left out."""
    lines: list[tuple[int, bytes]] = []
    problems: list[str] = []
    for name in files:
        body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        for number, line in logical_lines(body):
            for item in decode(line):
                if isinstance(item, LineError):
                    problems.append(f"{name}: line {number}: {item.reason}")
                elif item.timestamp is None or "site" not in item.tags:
                    missing = "site tag" if item.timestamp is not None else "timestamp"
                    problems.append(f"{name}: line {number}: no {missing}: the point cannot be placed")
                else:
                    lines.append((item.timestamp, line))
    lines.sort(key=lambda line: line[0])
    return lines, problems


def replay(lines: list[tuple[int, bytes]], config: Config) -> Iterator[Found]:
    """Yield what is found, in order. Each point arrives at its own timestamp; no time passes after the last one."""
    catalogue = Catalogue(max_signals_per_site=1 << 40)
    engine, decoder = Engine(config, catalogue), Decoder(catalogue)
    index = 0
    while index < len(lines):
        at, end = lines[index][0], index
        while end < len(lines) and lines[end][0] == at:
            end += 1
        columns, _ = decoder.decode(b"\n".join(line for _, line in lines[index:end]), arrived_at=at)
        for judged in (engine.tick(at), engine.step(columns, arrived_at=at)):
            yield from _found(judged, catalogue)
        index = end


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
