"""Strict reading of what people write: every mistake at once, each with its place and what would be right."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """Everything wrong with one input: pairs of a path (`$.checks[2].interval_seconds`) and a sentence."""

    def __init__(self, problems: list[tuple[str, str]], source: str = "") -> None:
        """Keep the problems, and the name of the file they are in."""
        self.problems = problems
        self.source = source
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem, ready to print."""
        prefix = f"{self.source}: " if self.source else ""
        return [f"{prefix}{path}: {words}" if path != "$" else f"{prefix}{words}" for path, words in self.problems]


def load_yaml(path: Path, wanted: type[T]) -> T:
    """Read a YAML file into `wanted` (a msgspec struct); `ConfigError` carries every problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError([("$", f"cannot be read: {exc.strerror}")], str(path)) from None
    except UnicodeDecodeError as exc:
        raise ConfigError([("$", f"is not UTF-8 at byte {exc.start + 1}")], str(path)) from None
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  (a SafeLoader that also refuses repeated keys)
    except yaml.YAMLError as exc:
        raise ConfigError([("$", _yaml_words(exc))], str(path)) from None
    try:
        return build(wanted, {} if data is None else data)
    except ConfigError as exc:
        raise ConfigError(exc.problems, str(path)) from None


def build(wanted: type[T], data: object, path: str = "$") -> T:
    """Convert plain data into `wanted`, a msgspec struct, or raise `ConfigError` with all that is wrong."""
    problems: list[tuple[str, str]] = []
    _inspect(wanted, data, path, problems)
    if not problems:
        try:
            return _convert(data, wanted)
        except msgspec.ValidationError as exc:
            problems.append(_split(exc, path))
    raise ConfigError(problems)


def _inspect(wanted: Any, data: object, path: str, problems: list[tuple[str, str]]) -> None:
    """Walk `data` beside its type, so that one mistake does not hide the next."""
    origin = get_origin(wanted)
    if origin in (typing.Union, types.UnionType) and data is not None:
        wanted = _only_choice(wanted)
        origin = get_origin(wanted)
    if origin is typing.Annotated:
        inner = get_args(wanted)[0]
        if isinstance(inner, type) and not issubclass(inner, msgspec.Struct):
            _leaf(wanted, data, path, problems)
        else:
            _inspect(inner, data, path, problems)
    elif isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        _inspect_struct(wanted, data, path, problems)
    elif origin in (list, tuple) and isinstance(data, list):
        for index, item in enumerate(data):
            _inspect(get_args(wanted)[0], item, f"{path}[{index}]", problems)
    elif origin is dict and isinstance(data, dict):
        for key, item in data.items():
            _leaf(get_args(wanted)[0], key, f"{path}.{key}", problems)
            _inspect(get_args(wanted)[1], item, f"{path}.{key}", problems)
    else:
        _leaf(wanted, data, path, problems)


def _only_choice(union: Any) -> Any:
    """Return `X` of `X | None`, so that the inside of an optional part is read strictly too."""
    choices = [choice for choice in get_args(union) if choice is not type(None)]
    return choices[0] if len(choices) == 1 else union


def _inspect_struct(wanted: type[msgspec.Struct], data: object, path: str, problems: list[tuple[str, str]]) -> None:
    if not isinstance(data, dict):
        problems.append((path, f"must be a mapping of names to values, not {_kind(data)}"))
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    before = len(problems)
    known = f"is unknown; there are: {', '.join(sorted(fields))}"
    problems.extend((f"{path}.{key}", known) for key in data if key not in fields)
    for name, field in fields.items():
        if name in data:
            _inspect(field.type, data[name], f"{path}.{name}", problems)
        elif field.required:
            problems.append((f"{path}.{name}", "is missing"))
    if len(problems) == before:  # each part is right; what is left are rules across parts (__post_init__)
        _leaf(wanted, data, path, problems)


def _leaf(wanted: Any, data: object, path: str, problems: list[tuple[str, str]]) -> None:
    choices = get_args(wanted) if get_origin(wanted) is typing.Literal else ()
    if choices and data not in choices:
        problems.append((path, f"{data!r} is not one of: {', '.join(map(str, choices))}"))
        return
    try:
        _convert(data, wanted)
    except msgspec.ValidationError as exc:
        problems.append(_split(exc, path))


def _convert(data: object, wanted: type[T]) -> T:
    return msgspec.convert(data, wanted, dec_hook=_path)


def _path(wanted: type, data: object) -> object:
    """Read a file's name: the one thing people write that msgspec has no word for."""
    if wanted is Path and isinstance(data, str) and data:
        return Path(data)
    raise ValueError("expected the name of a file or folder")


def _split(exc: msgspec.ValidationError, path: str) -> tuple[str, str]:
    """Turn "Expected `int`, got `str` - at `$.a`" into our path and words."""
    words, _, inner = str(exc).partition(" - at `$")
    return path + inner.rstrip("`"), words[:1].lower() + words[1:]


def _kind(data: object) -> str:
    return {type(None): "nothing", list: "a list", str: "text", dict: "a mapping"}.get(type(data), "a number")


def _yaml_words(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}not valid YAML: {getattr(exc, 'problem', None) or exc}"


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader that refuses a repeated key: plain YAML keeps the last one and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
