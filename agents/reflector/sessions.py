"""Who sends test packets, how many came and how many did not: the reflector's own count. Pure; time is given.

It is a second witness of a site's silence: it hears the site's packets themselves, twice a second, whatever the site's
agent says or no longer says.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000_000
_WINDOW = 64  # how far back a packet can be told from its own duplicate
_LONGEST_GAP = 100_000  # a jump beyond this is no loss but a sender that counts otherwise now
_NEW_A_SECOND, _NEW_AT_ONCE = 200, 5_000


class Key(NamedTuple):
    """What makes a session (RFC 8972, 3): who sends, from which port, and the identifier they chose."""

    host: str
    port: int
    ssid: int


@dataclass(slots=True)
class Count:
    """What one sender's packets did since the last report."""

    received: int = 0
    missing: int = 0
    duplicate: int = 0
    reordered: int = 0


@dataclass(slots=True)
class Session:
    """One sender: the number of the next reply, the highest number seen, and which of the 63 before it were.

    `departed` is the number and the stamp (as on the wire) of the last reply that the kernel told of; zeros for none.
    """

    first_seen_at: int
    last_seen_at: int
    newest_stamp: int
    reflected: int = 0
    highest: int = -1
    seen: int = 0
    departed: tuple[int, int] = (0, 0)
    count: Count = field(default_factory=Count)


class Sessions:
    """Every session, the most recently heard last. It never grows beyond `most`: the longest silent one gives way."""

    def __init__(self, most: int) -> None:
        """Remember no more than `most` sessions."""
        self.refused_new = self.replayed = 0
        self._most = most
        self._sessions: OrderedDict[Key, Session] = OrderedDict()
        self._newest: dict[int, int] = {}  # of each sender that proves who it is: its latest stamp, in any session
        self._tokens, self._filled_at = float(_NEW_AT_ONCE), 0

    def __len__(self) -> int:
        """Count the sessions."""
        return len(self._sessions)

    def __getitem__(self, key: Key) -> Session:
        """Return one session."""
        return self._sessions[key]

    def items(self) -> Iterator[tuple[Key, Session]]:
        """Return every session with its key."""
        return iter(self._sessions.items())

    def forget_silent(self, now: int, seconds: float) -> None:
        """Drop sessions that were last heard longer ago than `seconds`."""
        while self._sessions:
            key, oldest = next(iter(self._sessions.items()))
            if now - oldest.last_seen_at <= seconds * SECOND:
                return
            del self._sessions[key]

    def hear(self, key: Key, sequence: int, stamp: int, now: int, *, strict: bool) -> int | None:
        """Note a packet and return the number of its reply, or None: do not answer.

        `sequence` and `stamp` (nanoseconds, the sender's own clock) are the packet's, `now` is ours. With `strict`, for
        senders that prove who they are, a packet that was seen before is a replay and gets no answer. None also when
        too many strangers come at once.
        """
        session = self._sessions.get(key)
        if session is None:
            session = self._new(key, stamp, now, strict=strict)
            if session is None:
                return None
        behind = session.highest - sequence
        seen = 0 <= behind < _WINDOW and bool(session.seen >> behind & 1)
        if behind >= _WINDOW or behind < -_LONGEST_GAP or (seen and stamp > session.newest_stamp):
            if strict and not is_newer(stamp, session.newest_stamp, now):
                self.replayed += 1
                return None
            session.highest, session.seen, session.newest_stamp = -1, 0, stamp  # the sender began anew
            behind, seen = -1 - sequence, False
        if seen and strict:
            self.replayed += 1
            return None
        if seen:
            session.count.duplicate += 1
        else:
            _advance(session, sequence, behind)
        session.last_seen_at = now
        session.newest_stamp = max(session.newest_stamp, stamp)
        if strict:
            self._newest[key.ssid] = max(self._newest.get(key.ssid, stamp), stamp)
        session.count.received += 1
        number, session.reflected = session.reflected, session.reflected + 1
        self._sessions.move_to_end(key)
        return number

    def _new(self, key: Key, stamp: int, now: int, *, strict: bool) -> Session | None:
        """Make a session, if not too many were made just now: made-up senders must not push the real ones out."""
        if strict and key.ssid in self._newest:
            if not is_newer(stamp, self._newest[key.ssid], now):
                self.replayed += 1
                return None
            self._newest[key.ssid] = stamp
        self._tokens = min(_NEW_AT_ONCE, self._tokens + (now - self._filled_at) / SECOND * _NEW_A_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            self.refused_new += 1
            return None
        self._tokens -= 1
        if len(self._sessions) >= self._most:
            self._sessions.popitem(last=False)
        session = self._sessions[key] = Session(now, now, stamp)
        return session


def _advance(session: Session, sequence: int, behind: int) -> None:
    """Take up a packet not seen before. A gap counts as missing until the packet comes after all."""
    if behind >= 0:
        session.seen |= 1 << behind
        session.count.reordered += 1
        session.count.missing -= 1
        return
    if session.highest >= 0:
        session.count.missing += -behind - 1
    session.seen = (session.seen << min(-behind, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
    session.highest = sequence


def is_newer(stamp: int, newest: int, now: int) -> bool:
    """Tell a sender that began anew from a recorded packet: later than all before, or nearer to our own clock.

    The second lets in a sender whose clock was ahead and has been corrected: what was recorded before is never nearer.
    """
    return stamp > newest or abs(stamp - now) < abs(newest - now)
