"""A message, and how it is put into words: of one incident, of several, of none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collector.telling.facts import Known, Telling, facts
from collector.telling.words import PHRASES
from collector.words import lasted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.telling.parcels import Parcel
    from collector.telling.templates import Templates

_LINES: Final = 40
_LATE: Final = 120 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over a channel. `thread` is the same for all messages of one incident, and empty for others."""

    title: str
    body: str
    what: str
    quiet: bool = False
    thread: str = ""
    tellings: tuple[Telling, ...] = ()


class Writer:
    """Writes messages."""

    def __init__(
        self, templates: Templates, known: Known, diagnosis: Callable[[str, str], Sequence[str]] = lambda *_: ()
    ) -> None:
        """Write by `templates`, with what is known; `diagnosis` returns what was found of an incident in a language."""
        self._templates, self._known, self._diagnosis = templates, known, diagnosis

    def write(self, parcel: Parcel, language: str, now: int) -> Message:
        """Return the message that a parcel is."""
        tellings = tuple(Telling(item.incident, item.what, item.at, item.minutes) for item in parcel.items)
        first = tellings[0]
        if len(tellings) > 1 or parcel.digest:
            title, body = self._several(tellings, language, now, digest=parcel.digest)
            return Message(title, body, "digest" if parcel.digest else "summary", not parcel.loud, "", tellings)
        found = self._diagnosis(first.incident.id, language)
        title, body = self._templates.write(language, facts(first, self._known, language, now, found))
        return Message(title, body, first.what, not parcel.loud, thread_of(first), tellings)

    def _several(self, tellings: Sequence[Telling], language: str, now: int, *, digest: bool) -> tuple[str, str]:
        phrases = PHRASES[language]
        told = [facts(telling, self._known, language, now) for telling in tellings]
        over = sum(not telling.incident.open for telling in tellings)
        red = any(telling.incident.open and telling.incident.severity == "red" for telling in tellings)
        title = (phrases.digest if digest else phrases.summary).format(
            mark="🔴" if red else "🟢" if over == len(tellings) else "🟡",
            count=len(tellings), open=len(tellings) - over, over=over,
        )  # fmt: skip
        lines = [
            f"{'🟢' if not telling.incident.open else '🔴' if telling.incident.severity == 'red' else '🟡'} "
            f"{each['incident']} {each['where']}: {each['cause']} ({each['since']}"
            f"{' – ' + each['until'] if each['until'] else ''})"
            for telling, each in zip(tellings, told, strict=True)
        ]
        if len(lines) > _LINES:
            rest = [each["incident"] for each in told[_LINES:]]
            lines[_LINES:] = [phrases.more.format(count=len(rest), ids=", ".join(rest))]
        late = now - min(telling.at for telling in tellings)
        if not digest and late > _LATE:
            lines.insert(0, phrases.late.format(lasted=lasted(late, language)))
        return title, "\n".join(lines)


def thread_of(telling: Telling) -> str:
    """Return what names the thread of an incident's messages, also beside those of another collector."""
    return f"{telling.incident.id}.{telling.incident.opened_at:x}"


def test_message(channel: str, language: str) -> Message:
    """Return a message that says that a channel works."""
    phrases = PHRASES[language]
    return Message(phrases.test, phrases.test_body.format(channel=channel), "test")
