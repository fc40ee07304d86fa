"""An incident's timeline as people read it: names for ids, and many that came at once in one line."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from collector.incident import Evidence, Place
from collector.words import Text, happened, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.naming import Names

_MANY = ("joined", "left")
_PLACED = (*_MANY, "moved")
_NAMED = (*_PLACED, "merged", "corrected", "due")
_SHOWN = 8
_TOGETHER = 2_000_000_000
_LAST = 1 << 62
_MORE: Text = {"vi": "và {n} điểm khác", "en": "and {n} more"}

Moment = tuple[int, int, str, Text]


def timeline_told(lines: Iterable[Any], sent: Iterable[tuple[str, int]], names: Names) -> list[dict[str, Any]]:
    """Return a timeline, oldest first, from the database's `lines` and from which channel was told when."""
    ordered = sorted(lines, key=lambda line: (line["at"], line["id"]))
    moments: list[Moment] = []
    for kind, group in groupby(ordered, key=lambda line: line["kind"]):
        for part in _together(list(group)) if kind in _MANY else [[line] for line in group]:
            moments.append((part[0]["at"], part[0]["id"], kind, _words(part, names)))
    moments += [(at, _LAST, "told", happened("told", None, channel)) for channel, at in sent]
    moments.sort(key=lambda moment: moment[:2])
    return [{"at": rfc3339(at), "kind": kind, "text": text} for at, _, kind, text in moments]


def _together(lines: Sequence[Any]) -> list[list[Any]]:
    """Return lines of one kind in parts, each of what happened within two seconds."""
    parts: list[list[Any]] = []
    for line in lines:
        if parts and line["at"] - parts[-1][0]["at"] <= _TOGETHER:
            parts[-1].append(line)
        else:
            parts.append([line])
    return parts


def _words(lines: Sequence[Any], names: Names) -> Text:
    line = lines[0]
    if line["kind"] == "diagnosed":
        return msgspec.json.decode(line["text"], type=Text)
    if len(lines) > 1:
        return happened(line["kind"], None, _several([_place(each["about"], names) for each in lines]))
    evidence = msgspec.convert(line["evidence"], Evidence) if line["evidence"] else None
    about = line["about"] if line["kind"] in _NAMED else None
    if about and line["kind"] in _PLACED:
        about = _place(about, names)
    return happened(line["kind"], evidence, line["text"] or about)


def _several(places: Sequence[str]) -> Text:
    left = len(places) - _SHOWN
    more = {language: f" {words.format(n=left)}" if left > 0 else "" for language, words in _MORE.items()}
    return {language: ", ".join(places[:_SHOWN]) + words for language, words in more.items()}


def _place(about: str, names: Names) -> str:
    """Name what a line is about: a site and what is at it, or an upstream."""
    site, _, rest = about.partition(" ")
    name = names.site(site)
    if name != site:
        return " ".join(part for part in (f"{name} ({site})", rest) if part)
    return names.place(Place("upstream", "", about)) or about
