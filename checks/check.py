"""What every check is, and the ways in which a measurement can end with more than numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class CheckError(Exception):
    """We could not measure: no permission, a bad local state, an impossible parameter. A fault of this node."""


class Unreachable(Exception):  # noqa: N818  (not a fault of ours: "unreachable" is a measurement)
    """The target did not answer as it should. `reason` says what was seen; `metrics` is what was still measured."""

    def __init__(self, reason: str, metrics: Mapping[str, float] | None = None) -> None:
        """Take the words for a person, and the figures gathered before it failed."""
        super().__init__(reason)
        self.reason = reason
        self.metrics = dict(metrics or {})


class Remark(Exception):  # noqa: N818  (no error: the target answered)
    """The target answered, all of `metrics` was measured, and `words` say what no number holds.

    For a target that knows best itself how it is ("on battery, 20 minutes left"). The words go along for people; how
    bad it is, the limits alone decide. Nothing is remarked when all is well.
    """

    def __init__(self, words: str, metrics: Mapping[str, float]) -> None:
        """Take the words for a person, and everything that was measured."""
        super().__init__(words)
        self.words = words
        self.metrics = dict(metrics)


class Check(Protocol):
    """A frozen value of validated parameters that can measure a target.

    The class constants describe it to people (`nhip check list`) and to `run`:

    * `metrics`: every metric it can return, with its meaning and unit in words;
    * `unreachable`: the metrics that state "no answer", for example `{"loss_ratio": 1.0}`;
    * `default_target` (optional): what `nhip check run` looks at when no target is given;
    * `child_process` (optional): True where `run` measures in a process of its own, because the libraries are large;
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
        """Measure `target` once and return its metrics; absent means not measured.

        Raises `Unreachable` when the target did not answer, `CheckError` when we could not ask, and `Remark` to send
        words along with the metrics.
        """
        ...
