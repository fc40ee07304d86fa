"""Messages from templates: the shipped ones, or a user's own, which fall back to the shipped ones where they fail.

A template is a text in Jinja's language: its first line is the title, the rest the body. It runs in Jinja's sandbox;
a name that is not there is an error: no message at night has an empty place.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from collector.config import Config
from collector.incident import Evidence, Incident, Place
from collector.telling.facts import Known, Telling, facts
from collector.telling.words import HEADLINES, PHRASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

    from collector.telling.settings import Telling as Settings

log = logging.getLogger(__name__)

LANGUAGES: Final = ("vi", "en")
_SHIPPED: Final = Path(__file__).with_name("shipped")
_LONGEST = 20_000
_FAILURES = (
    TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    OSError,
)


class TemplateProblem(Exception):  # noqa: N818  (what is wrong with a text of the user's, not a fault of ours)
    """A template cannot be read, or fails. Says where and why."""


class Templates:
    """Writes messages."""

    def __init__(self, folder: Path | None = None) -> None:
        """Write by the templates in `folder`, where it has one of a language; by the shipped ones else."""
        self._shipped = {language: _compiled(_SHIPPED / f"{language}.txt") for language in LANGUAGES}
        self._own: dict[str, Template] = {}
        for language, path in own_files(folder):
            try:
                self._own[language] = _compiled(path)
            except TemplateProblem as exc:
                log.error("%s; messages are written by the shipped template", exc)

    def write(self, language: str, facts: Mapping[str, Any]) -> tuple[str, str]:
        """Return title and body; where the user's own template fails, the shipped one's, which say so."""
        own = self._own.get(language)
        if own is None:
            return _written(self._shipped[language], facts)
        try:
            return _written(own, facts)
        except TemplateProblem as exc:
            log.error("%s; this message is written by the shipped template", exc)
            title, body = _written(self._shipped[language], facts)
            return title, f"{body}\n{PHRASES[language].broken.format(why=exc)}"


def own_files(folder: Path | None) -> list[tuple[str, Path]]:
    """Return the user's own templates, by language."""
    paths = [] if folder is None else [(language, folder / f"{language}.txt") for language in LANGUAGES]
    return [(language, path) for language, path in paths if path.exists()]


def problems(telling: Settings) -> list[tuple[str, str]]:
    """Return what is wrong with the user's own templates: each is tried with every sort of message."""
    folder = telling.templates
    if folder is None:
        return []
    place = "$.telling.templates"
    files = own_files(folder)
    if not files:
        return [(place, f"{folder}: has neither vi.txt nor en.txt")]
    found = []
    for language, path in files:
        try:
            template = _compiled(path)
            for sample in _samples(language):
                _written(template, sample)
        except TemplateProblem as exc:
            found.append((place, str(exc)))
    return found


def _compiled(path: Path) -> Template:
    environment = ImmutableSandboxedEnvironment(  # autoescape is for HTML; these are plain texts
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
    except TemplateSyntaxError as exc:
        raise TemplateProblem(f"{path}: line {exc.lineno}: {exc.message}") from None
    except UnicodeDecodeError as exc:
        raise TemplateProblem(f"{path}: is not UTF-8 at byte {exc.start + 1}") from None
    except OSError as exc:
        raise TemplateProblem(f"{path}: cannot be read: {exc.strerror}") from None
    template.filename, template.name = str(path), str(path)
    return template


def _written(template: Template, facts: Mapping[str, Any]) -> tuple[str, str]:
    try:
        text = template.render(facts)
    except _FAILURES as exc:
        line = f" line {number}:" if (number := _line(exc, template.filename)) else ""
        words = "it may not do that" if isinstance(exc, SecurityError) else str(exc) or type(exc).__name__
        raise TemplateProblem(f"{template.filename}:{line} {words}") from None
    title, _, body = text.strip().partition("\n")
    if not title.strip() or not body.strip():
        raise TemplateProblem(f"{template.filename}: writes no title and body: the first line is the title")
    lines = [line.rstrip() for line in body.strip().splitlines()]
    kept = [line for index, line in enumerate(lines) if line or (index and lines[index - 1])]
    return title.strip(), "\n".join(kept)[:_LONGEST]


def _line(exc: BaseException, filename: str | None) -> int:
    """Return the template's line in which something failed: the last frame that is a template's own."""
    found, traceback = 0, exc.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == filename:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found


def _samples(language: str) -> list[dict[str, Any]]:
    """Return the facts of messages of every sort, as a template may meet them."""
    known = Known(Config())
    second = 1_000_000_000
    shown = Evidence(node="gateway", check="icmp_echo", target="10.0.0.1", metric="loss_ratio", level="red", at=second)
    one = Incident(id="1", place=Place("path", "1", "x"), began_at=1, opened_at=2, evidence={1: shown}, reached=["1"])
    end = 100 * second
    many = Incident(
        id="2", place=Place("upstream", "", "x"), began_at=1, opened_at=2, reached=["1", "2"], resolved_at=end
    )
    late = 4000 * second
    return [
        facts(Telling(incident, what, 0, 10), known, language, late, diagnosis)  # type: ignore[arg-type]  # keys of HEADLINES are what may be said
        for what in HEADLINES
        for incident, diagnosis in ((one, ["x"]), (many, []))
    ]
