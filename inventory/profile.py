"""The local profile: `acceptance.yml`, strictly read. What is measured at a site, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from checks.limits import Level, Limit
from checks.strict import ConfigError, build
from inventory.places import compose, given, located

if TYPE_CHECKING:
    from inventory.places import Problems

FILE = "acceptance.yml"
SHIPPED = Path(__file__).with_name(FILE)
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")]


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is run for a site, and from which side."""

    measurement: _Name
    side: Literal["site", "data_centre", "agent", "control"]
    check: str = ""
    target: str = ""
    service: str = ""
    needs: str = ""
    parameters: dict[str, Any] = msgspec.field(name="with", default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what says nothing, or everything twice."""
        if self.side == "control":
            if self.check or self.service:
                raise ValueError("side control is measured by the playbook: it has no check and no service")
        elif bool(self.check) == bool(self.service):
            raise ValueError("needs either a check or a service")
        elif self.service and (self.target or self.parameters):
            raise ValueError("takes target and parameters from its service: leave them out")


class Criterion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric of a measurement, what people call it, and from which value on it is yellow or red."""

    criterion: _Name
    of: str
    metric: Annotated[str, msgspec.Meta(min_length=1)]
    vi: Annotated[str, msgspec.Meta(min_length=1)]
    en: Annotated[str, msgspec.Meta(min_length=1)]
    above: bool = True
    yellow: float | None = None
    red: float | None = None
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse values that can never be both meant."""
        if self.yellow is not None and self.red is not None and (self.red > self.yellow) is not self.above:
            raise ValueError(
                f"red ({self.red:g}) must be {'above' if self.above else 'below'} yellow ({self.yellow:g})"
            )

    @property
    def own_limit(self) -> Limit | None:
        """Return the criterion's own limit; None where the inventory's holds."""
        if self.yellow is None and self.red is None:
            return None
        yellow, red = (None if v is None else Level(v, v) for v in (self.yellow, self.red))
        return Limit(check="", metric=self.metric, above=self.above, yellow=yellow, red=red, k=1, n=1)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Annotated[str, msgspec.Meta(min_length=1)]
    measurements: list[Measurement]
    criteria: list[Criterion]

    def measurement(self, name: str) -> Measurement:
        """Return a measurement by its name."""
        return next(each for each in self.measurements if each.measurement == name)


def read_profile(folder: Path) -> Profile:
    """Read an inventory's profile, or the shipped one; `ConfigError` lists every problem, by file and line."""
    problems: Problems = []
    path = folder / FILE if (folder / FILE).exists() else SHIPPED
    profile = profile_of(path, FILE, problems)
    if problems or profile is None:
        raise located(path.parent, problems)
    return profile


def profile_of(path: Path, name: str, problems: Problems) -> Profile | None:
    """Return the profile in a file; `problems` takes what is wrong with it."""
    node = compose(path, name, problems)
    if node is None:
        if not problems:
            problems.append((name, "is empty: leave it out, and the shipped profile holds"))
        return None
    file = given(node, name)
    try:
        profile = build(Profile, file.value)
    except ConfigError as exc:
        problems += [(str(file.at(path)), f"{path.removeprefix('$.')}: {words}") for path, words in exc.problems]
        return None
    names = [each.measurement for each in profile.measurements]
    for index, criterion in enumerate(profile.criteria):
        if criterion.of not in names:
            words = (
                f"{criterion.criterion} is of {criterion.of!r}, which is no measurement; there are: {', '.join(names)}"
            )
            problems.append((str(file.at(f"$.criteria[{index}].of")), words))
    for kind, ids in (("measurements", names), ("criteria", [each.criterion for each in profile.criteria])):
        for index, one in enumerate(ids):
            if one in ids[:index]:
                problems.append((str(file.at(f"$.{kind}[{index}]")), f"{one!r} is given twice"))
    return profile
