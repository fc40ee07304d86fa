"""Strict reading: every mistake at once, with its place, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import pytest

from checks.strict import ConfigError, build, load_yaml

if TYPE_CHECKING:
    from pathlib import Path


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None
    many: list[Inner] = []
    ports: dict[str, int] = {}


def problems(data: object) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        build(Outer, data)
    return caught.value.problems


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    found = problems({"nmae": 1, "inner": {"size": 0}, "many": [{"size": 1}, {"size": "x"}], "ports": {"a": "b"}})
    assert dict(found) == {
        "$.nmae": "is unknown; there are: inner, many, name, ports",
        "$.name": "is missing",
        "$.inner.size": "expected `int` >= 1",
        "$.many[1].size": "expected `int`, got `str`",
        "$.ports.a": "expected `int`, got `str`",
    }


def test_an_optional_part_may_be_nothing_and_is_read_strictly_when_it_is_there() -> None:
    assert build(Outer, {"name": "a", "inner": None}).inner is None
    assert problems({"name": "a", "inner": {"size": 1, "sise": 2}}) == [
        ("$.inner.sise", "is unknown; there are: size"),
    ]


def test_a_part_of_the_wrong_kind_is_named() -> None:
    assert problems([1]) == [("$", "must be a mapping of names to values, not a list")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "line 2, column 1: not valid YAML: 'name' is given twice"),
        ("name: [a\n", "not valid YAML: expected ',' or ']'"),
        ("", "$.name: is missing"),
    ],
)
def test_a_file_that_is_not_right_is_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_yaml(file, Outer)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_yaml(tmp_path / "none.yml", Outer)
    (tmp_path / "binary.yml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 7"):
        load_yaml(tmp_path / "binary.yml", Outer)
