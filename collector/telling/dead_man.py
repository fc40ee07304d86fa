"""The dead-man signal: every minute to somebody outside, who rings when it stays away.

It goes out only if everything that has to move has really moved: nothing but the time was sent through journal and
judge, the desk and the channels have taken their turns, and no incident has waited for minutes that nobody took.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from collector.telling.address import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.telling.address import Address
    from collector.telling.settings import DeadMan as Settings

log = logging.getLogger(__name__)

Proof = "Callable[[], str | None]"
"""Says why the signal must stay away, or nothing."""
_AGAIN_SECONDS: Final = 10.0
_DRILL: Final = "a drill is on"


class DeadMan:
    """Sends the signal, from a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        proofs: Sequence[Callable[[], str | None]],
        drilling: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send to `address` while none of `proofs` says why not, and no drill withholds the signal."""
        self._settings, self._address, self._proofs, self._drilling = settings, address, proofs, drilling
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dead-man", daemon=True)
        self._began_at = time.monotonic()
        self._sent_at: float | None = None
        self.problem: str | None = None
        """Why the signal stays away, or does not get through."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the signal under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def age_seconds(self) -> float:
        """Return how long ago a signal was taken, or we began."""
        return time.monotonic() - (self._began_at if self._sent_at is None else self._sent_at)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            began = time.monotonic()
            pause = self._settings.every_seconds if self.turn() else min(_AGAIN_SECONDS, self._settings.every_seconds)
            pause = max(0.0, pause - (time.monotonic() - began))

    def turn(self) -> bool:
        """Send the signal, or withhold it; return whether it was taken."""
        problem = _DRILL if self._drilling() else self._proven()
        if problem is None:
            try:
                self._address.ask(self._settings.method, self._settings.timeout_seconds)
            except AddressError as exc:
                problem = f"was not taken: {exc}"
        if problem != self.problem:
            if problem is None:
                log.info("the dead-man signal goes out again")
            elif problem == _DRILL:
                log.warning("the dead-man signal is withheld: %s", problem)
            else:
                log.error("the dead-man signal stays away: %s", problem)
        self.problem = problem
        if problem is None:
            self._sent_at = time.monotonic()
        return problem is None

    def _proven(self) -> str | None:
        for proof in self._proofs:
            try:
                words = proof()
            except Exception as exc:  # noqa: BLE001  (what cannot be asked is not proven)
                words = f"{type(exc).__name__} while asking whether all moves"
            if words is not None:
                return words
        return None
