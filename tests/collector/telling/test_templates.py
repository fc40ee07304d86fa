"""Templates of a user's own: found wrong when they are read, and never the reason why nobody is told."""

# ruff: noqa: E501  (a mistake and the words it is told in stand on one line)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.config import Config
from collector.incident import Incident, Place
from collector.telling import templates, words
from collector.telling.facts import Known, facts
from collector.telling.facts import Telling as FactsOf
from collector.telling.settings import Telling
from collector.telling.templates import LANGUAGES, Templates

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "[Sở] {{ headline }} {{ incident }}\n{{ where }}: {{ cause }}{% if people %} ({{ people }}){% endif %}\n"


def folder(here: Path, text: str, name: str = "vi.txt") -> Telling:
    (here / name).write_text(text, encoding="utf-8")
    return Telling(templates=here)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shipped_templates_write_every_sort_of_message_without_an_empty_line(language: str) -> None:
    for sample in templates._samples(language):
        title, body = Templates().write(language, sample)
        assert str(sample["incident"]) in title
        assert all(line.strip() for line in body.splitlines()), body
        assert str(sample["since"]) in body


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_diagnosis_found_stands_in_the_message_in_place_of_the_general_advice(language: str) -> None:
    path = Incident(id="7", place=Place("path", "31120", "10.0.0.1"), began_at=1, opened_at=2, reached=["31120"])

    def body(diagnosis: list[str]) -> str:
        told = facts(FactsOf(path, "opened", 2), Known(Config()), language, 3, diagnosis)
        return Templates().write(language, told)[1]

    plain, found = body([]), body(["Gateway dark", "Looked at: gateway"])
    advice = words.first_steps("path", language, "10.0.0.1")
    assert advice in plain
    assert advice not in found
    assert "Gateway dark\nLooked at: gateway" in found


def test_ones_own_template_is_used_and_the_other_language_stays_as_shipped(tmp_path: Path) -> None:
    telling = folder(tmp_path, GOOD)
    assert templates.problems(telling) == []
    writing = Templates(telling.templates)
    sample = {**templates._samples("vi")[0], "where": "Phường Một", "cause": "đứt", "people": 7}
    assert writing.write("vi", sample) == ("[Sở] SỰ CỐ 1", "Phường Một: đứt (7)")
    assert writing.write("en", templates._samples("en")[0])[0] == "🔴 INCIDENT 1: 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ headline }}\n{{ wher }}\n", "vi.txt: line 2: 'wher' is undefined"),
        ("{{ headline }}\nx\n{% if %}\n", "vi.txt: line 3: Expected an expression, got 'end of statement block'"),
        ("{{ headline }}\nx\n{{ ''.__class__.__mro__ }}\n", "vi.txt: line 3: it may not do that"),
        ("{{ headline }}\n{{ 1 / 0 }}\n", "vi.txt: line 2: division by zero"),
        ("{{ headline }}\n", "vi.txt: writes no title and body: the first line is the title"),
        ("{% if until %}{{ headline }}\nx{% endif %}", "vi.txt: writes no title and body: the first line is the title"),
        ("{{ headline }}\n{% for x in range(100000000) %}x{% endfor %}", "vi.txt: line 2: Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)."),
    ],
)  # fmt: skip
def test_a_template_that_fails_is_named_at_load_with_its_line_and_at_run_the_shipped_one_writes_and_says_so(
    tmp_path: Path, text: str, words: str
) -> None:
    ((place, found),) = templates.problems(folder(tmp_path, text))
    assert place == "$.telling.templates"
    assert found.removeprefix(f"{tmp_path}/") == words
    title, body = Templates(tmp_path).write("vi", templates._samples("vi")[0])
    assert title == "🔴 SỰ CỐ 1: 1"
    if "{% if %}" not in text:  # one that cannot even be read is said in the log, once
        assert f"(Mẫu tin riêng bị lỗi: {tmp_path}/{words}. Đây là mẫu có sẵn.)" in body


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert templates.problems(Telling(templates=tmp_path)) == [
        ("$.telling.templates", f"{tmp_path}: has neither vi.txt nor en.txt")
    ]
    (tmp_path / "en.txt").write_bytes(b"\xff\xfe\n")
    ((_, words),) = templates.problems(Telling(templates=tmp_path))
    assert words == f"{tmp_path}/en.txt: is not UTF-8 at byte 1"
    assert Templates(tmp_path).write("en", templates._samples("en")[0])[0] == "🔴 INCIDENT 1: 1"
