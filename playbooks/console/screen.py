"""Where lines go: to a log as they come; on a terminal above a few live lines that are drawn again and again."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAUSE_SECONDS = 0.1  # between two drawings: faster than the eye, slower than a thousand tasks


class Screen:
    """Lasting lines through `write`; live ones straight to the terminal, and nowhere else."""

    def __init__(self, write: Callable[[str, str | None], None], terminal: TextIO = sys.stdout) -> None:
        """`write(line, colour)` prints a lasting line."""
        self._write = write
        self._terminal = terminal
        self.live = terminal.isatty()
        self._drawn = 0
        self._drawn_at = 0.0

    def say(self, line: str, colour: str | None = None) -> None:
        """Print a lasting line."""
        self.clear()
        self._write(line, colour)

    def show(self, lines: Sequence[str], *, now: bool = False) -> None:
        """Draw the live lines; most calls are too soon after the last and do nothing."""
        at = time.monotonic()
        if not self.live or (not now and at - self._drawn_at < _PAUSE_SECONDS):
            return
        self.clear()
        width, height = shutil.get_terminal_size()
        shown = [line[: width - 1] for line in lines[: max(1, height // 3)]]
        self._terminal.write("".join(f"{line}\n" for line in shown))
        self._terminal.flush()
        self._drawn, self._drawn_at = len(shown), at

    def clear(self) -> None:
        """Take the live lines away."""
        if self._drawn:
            self._terminal.write(f"\x1b[{self._drawn}A\x1b[J")
            self._terminal.flush()
            self._drawn = 0
