"""What every check is, and the ways in which a measurement can end with more than numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CheckError(Exception):
    """We could not measure: no permission, a bad local state, an impossible parameter. A fault of this node."""


class Unreachable(Exception):  # noqa: N818  (not a fault of ours: "unreachable" is a measurement)
    """The target did not answer as it should. `reason` says what was seen; `metrics` is what was still measured."""

    def __init__(self, reason: str, metrics: Mapping[str, float] | None = None, notes: Iterable[str] = ()) -> None:
        """Take the words for a person, the figures gathered before it failed, and notes as `Noted` has them."""
        super().__init__(reason)
        self.reason = reason
        self.metrics = dict(metrics or {})
        self.notes = tuple(notes)


class Noted(dict[str, float]):
    """Metrics with notes: what people want to read beside the numbers and no number can say, such as addresses.

    Nothing is judged by a note. `nhip check run` prints them a line each; on the wire they are one text field.
    """

    def __init__(self, metrics: Mapping[str, float], notes: Iterable[str]) -> None:
        """Take both; a note is one short line."""
        super().__init__(metrics)
        self.notes = tuple(notes)


class Check(Protocol):
    """A frozen value of validated parameters that can measure a target.

    The class constants describe it to people (`nhip check list`) and to `run`:

    * `metrics`: every metric it can return, with its meaning and unit in words;
    * `unreachable`: the metrics that state "no answer", for example `{"loss_ratio": 1.0}`;
    * `default_target` (optional): what `nhip check run` looks at when no target is given;
    * `child_process` (optional): True where `run` measures in a process of its own, because the libraries are large;
    * `lease` (optional): True where it loads the line, so that an agent asks the collector first; its `lease_bytes`
      then says with how many bytes at most;
    * `timeout_seconds` (a parameter that every check has): the deadline that `run` enforces.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    target_help: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]]
    unreachable: ClassVar[Mapping[str, float]]

    @property
    def timeout_seconds(self) -> float:
        """Seconds after which `run` gives up on the target."""
        ...

    async def measure(self, target: str) -> dict[str, float]:
        """Measure `target` once and return its metrics (`Noted`, if words belong to them); absent means not measured.

        Raises `Unreachable` when the target did not answer, `CheckError` when we could not ask.
        """
        ...
