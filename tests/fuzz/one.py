"""Fuzz one target, in a process of its own: `python -m tests.fuzz.one NAME [options of libFuzzer] FOLDER…`."""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["checks", "agents"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

_WARM = 20_000  # executions, after which caches are full
_LOOK_EVERY = 2_000
_MOST_GROWTH_BYTES = 128 * 2**20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return what this process has in memory."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (every few thousand executions)
        return int(file.read().split()[1]) * _PAGE_BYTES


class Watched:
    """A target that also fails when memory grows from input to input."""

    def __init__(self, name: str) -> None:
        """Take its name."""
        self._run, self._count, self._before = TARGETS[name].run, 0, 0

    def __call__(self, data: bytes) -> None:
        """Run one input."""
        self._run(data)
        self._count += 1
        if self._count == _WARM:
            self._before = resident_bytes()
        elif self._before and self._count % _LOOK_EVERY == 0 and resident_bytes() - self._before > _MOST_GROWTH_BYTES:
            raise MemoryError(f"{self._count} inputs made it {_MOST_GROWTH_BYTES >> 20} MiB larger")


def main() -> None:
    """Hand over to libFuzzer, which ends the process."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, Watched(name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
