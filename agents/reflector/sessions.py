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
_STEP_BACK = 10 * SECOND  # a sender's clock may be set back so far without anybody asking who it is
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
    """One sender: the number of the next reply, the first and the highest number seen, which of 63 before it were.

    `last_seen_at` is of our monotonic clock, so that setting the other makes nobody silent; `newest_stamp` is the
    sender's own, nanoseconds since 1970. `departed` is the number and the stamp (as on the wire) of the last reply that
    the kernel told of; zeros for none.
    """

    last_seen_at: int
    newest_stamp: int
    reflected: int = 0
    first: int = 0
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
        """Return every session with its key, the most recently heard first."""
        return reversed(self._sessions.items())

    def forget_silent(self, here: int, seconds: float) -> None:
        """Drop sessions that were last heard longer ago than `seconds`; `here` is of the monotonic clock."""
        while self._sessions:
            key, oldest = next(iter(self._sessions.items()))
            if here - oldest.last_seen_at <= seconds * SECOND:
                return
            del self._sessions[key]

    def hear(self, key: Key, sequence: int, stamp: int, *, now: int, here: int, strict: bool) -> int | None:
        """Note a packet and return the number of its reply, or None: do not answer.

        `sequence` and `stamp` (nanoseconds, the sender's own clock) are the packet's; `now` is our wall clock, `here`
        our monotonic one. With `strict`, for senders that prove who they are, a packet that was seen before is a replay
        and gets no answer. None also when too many strangers come at once.
        """
        session = self._sessions.get(key)
        fresh = session is None
        if session is None:
            session = self._new(key, stamp, now, here, strict=strict)
            if session is None:
                return None
        behind = session.highest - sequence
        seen = 0 <= behind < _WINDOW and bool(session.seen >> behind & 1)
        earlier_but_sent_later = behind >= 0 and stamp > session.newest_stamp
        strange = behind >= _WINDOW or behind < -_LONGEST_GAP or earlier_but_sent_later
        if fresh or (strange and is_newer(stamp, session.newest_stamp, now)):
            session.highest, session.seen, session.first = -1, 0, sequence  # the sender began, or began anew
            _advance(session, sequence, -1 - sequence)
        elif strict and (strange or seen or is_older(stamp, session.newest_stamp, now)):
            self.replayed += 1
            return None
        elif strange or seen:
            session.count.duplicate += 1  # or so late that it cannot be told from one
        else:
            _advance(session, sequence, behind)
        if is_newer(stamp, session.newest_stamp, now):
            session.newest_stamp = stamp
        if strict and is_newer(stamp, self._newest.get(key.ssid, stamp - 1), now):
            self._newest[key.ssid] = stamp
        return self._count(key, session, here)

    def _count(self, key: Key, session: Session, here: int) -> int:
        session.last_seen_at = here
        session.count.received += 1
        number, session.reflected = session.reflected, session.reflected + 1
        self._sessions.move_to_end(key)
        return number

    def _new(self, key: Key, stamp: int, now: int, here: int, *, strict: bool) -> Session | None:
        """Make a session, if not too many were made just now: made-up senders must not push the real ones out."""
        if strict and key.ssid in self._newest and not is_newer(stamp, self._newest[key.ssid], now):
            self.replayed += 1
            return None
        self._tokens = min(_NEW_AT_ONCE, self._tokens + (here - self._filled_at) / SECOND * _NEW_A_SECOND)
        self._filled_at = here
        if self._tokens < 1:
            self.refused_new += 1
            return None
        self._tokens -= 1
        if len(self._sessions) >= self._most:
            self._sessions.popitem(last=False)
        session = self._sessions[key] = Session(here, stamp)
        return session


def _advance(session: Session, sequence: int, behind: int) -> None:
    """Take up a packet not seen before. A gap counts as missing until the packet comes after all."""
    if behind >= 0:
        session.seen |= 1 << behind
        session.count.reordered += 1
        session.count.missing -= sequence > session.first  # what came before the first was never missed
        return
    if session.highest >= 0:
        session.count.missing += -behind - 1
    session.seen = (session.seen << min(-behind, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
    session.highest = sequence


def is_newer(stamp: int, newest: int, now: int) -> bool:
    """Tell a sender that began anew from a recorded packet: later than all before, or from a clock that was put right.

    The second lets in a sender whose clock was far ahead of ours and has been corrected, so that nobody is shut out
    until that time has come.
    """
    return stamp > newest or (newest > now + _STEP_BACK and abs(stamp - now) < abs(newest - now))


def is_older(stamp: int, newest: int, now: int) -> bool:
    """Tell a packet recorded in another session from one that a clock set back a little has stamped."""
    return stamp < newest - _STEP_BACK and not is_newer(stamp, newest, now)
