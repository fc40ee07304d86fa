"""The resolutions in which metrics are kept, and how their tables are named and cut."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution: its table names, the width of its buckets, and how its tables are cut."""

    prefix: str
    seconds: int
    cut: str

    def table(self, second: int) -> str:
        """Return the name of the table that holds an instant."""
        return self.prefix + datetime.fromtimestamp(second, UTC).strftime(self.cut)


RAW = Tier("points_", 0, "%Y%m%d")
MINUTES = Tier("minutes_", 60, "%Y%m%d")
HOURS = Tier("hours_", 3600, "%Y%m")
VERDICTS = Tier("verdicts_", 3600, "%Y%m")
