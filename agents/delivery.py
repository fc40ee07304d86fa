"""Carry batches from the spool to the collector, oldest first, in a thread: the line's waits are not the agent's."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from agents.uplink import Answer, Fate

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.spool import Spool
    from agents.uplink import Uplink

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
"""However long the line was down, a site is heard again within this, and the sites not all at once."""
LONGEST_ASKED_WAIT_SECONDS = 300.0


class Delivery:
    """The thread that empties the spool. `wake` it when there is something; it backs off by itself."""

    def __init__(self, spool: Spool, uplink: Uplink, *, say: Callable[[str], None]) -> None:
        """Take the two ends; nothing starts before `start`."""
        self.last_upload_at: int | None = None
        self.refused_batches = 0
        self.trouble = ""
        self._spool, self._say = spool, say
        self._uplink = self._next_uplink = uplink
        self._attempt_began_at: float | None = None
        self._state = threading.Condition()
        self._work = self._stopping = self._hurry = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Begin, with whatever an earlier process left."""
        self._work = True
        self._thread.start()

    def wake(self) -> None:
        """Tell that there is something to send."""
        with self._state:
            self._work = True
            self._state.notify()

    def use(self, uplink: Uplink) -> None:
        """Send the next batch through another uplink, at once."""
        with self._state:
            self._next_uplink = uplink
            self._hurry = self._work = True
            self._state.notify()
        self._uplink.abort()

    def end_attempt_older_than(self, seconds: float) -> None:
        """Break off an attempt that a server keeps alive byte by byte: only each single read has a time limit."""
        began_at = self._attempt_began_at
        if began_at is not None and time.monotonic() - began_at > seconds:
            self._uplink.abort()

    def stop(self, within_seconds: float) -> None:
        """Try once more to empty the spool, for at most `within_seconds`; what is left waits on disk."""
        with self._state:
            self._stopping = True
            self._state.notify()
        self._thread.join(within_seconds)
        if self._thread.is_alive():
            self._uplink.abort()
            self._thread.join(1.0)

    def _run(self) -> None:
        while self._wait():
            try:
                answer = self._send_all()
            except Exception as exc:  # noqa: BLE001  (a defect here must not end the sending for good)
                answer = Answer(Fate.LATER, f"sending failed: {type(exc).__name__}: {exc}")
                self._note(answer)
            if answer is not None:
                self._back_off(answer)
        self._send_all()
        self._uplink.close()

    def _wait(self) -> bool:
        with self._state:
            self._state.wait_for(lambda: self._work or self._stopping)
            self._work = self._hurry = False
            return not self._stopping

    def _send_all(self) -> Answer | None:
        """Send until the spool is empty (None), or until an attempt fails."""
        while (batch := self._spool.oldest()) is not None:
            if self._uplink is not self._next_uplink:
                self._uplink.close()
                self._uplink = self._next_uplink
            self._attempt_began_at = time.monotonic()
            answer = self._uplink.send(batch)
            self._attempt_began_at = None
            if answer.fate is Fate.TOO_LARGE:
                kept = self._spool.split(batch)
                self._say(f"{answer.words}; the batch is {'sent in two halves' if kept else 'one line, and dropped'}")
            elif answer.fate is not Fate.LATER:
                self._spool.acknowledge(batch.sequence)
            self._spool.release()
            self._note(answer)
            if answer.fate is Fate.LATER:
                return answer
        return None

    def _note(self, answer: Answer) -> None:
        """Say what changed: a trouble once when it comes, once when it goes."""
        if answer.fate is Fate.PARTLY_REFUSED:
            self.refused_batches += 1
            self._say(f"{answer.words}; the lines it refused are not sent again")
        if answer.fate is Fate.LATER:
            self._failures += 1
            if answer.words != self.trouble:
                self._say(f"{answer.words}; results wait on disk")
            self.trouble = answer.words
            return
        if answer.fate is Fate.TOO_LARGE:
            return
        if self.trouble:
            self._say("the collector takes results again")
        self._failures, self.trouble, self.last_upload_at = 0, "", time.time_ns()

    def _back_off(self, answer: Answer) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(self._failures - 1, 10), LONGEST_WAIT_SECONDS)
        wait *= random.uniform(0.5, 1.0)  # noqa: S311  (so that the sites of a province do not come back at once)
        if answer.wait_seconds is not None:
            wait += min(answer.wait_seconds, LONGEST_ASKED_WAIT_SECONDS)
        with self._state:
            self._work = True
            self._state.wait_for(lambda: self._hurry or self._stopping, wait)
