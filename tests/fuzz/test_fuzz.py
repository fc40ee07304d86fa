"""What fuzzing begins with, and what it once found, runs with every test. The search itself is `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_a_friend_sends_and_every_beginning_of_it(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        for end in range(0, len(seed) + 1, max(1, len(seed) // 200)):
            target.run(seed[:end])


def test_what_was_found_once_is_not_found_again() -> None:
    for path in sorted(FOUND.glob("*/*")):
        TARGETS[path.parent.name].run(path.read_bytes())
