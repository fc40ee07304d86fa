"""Tokens: who may write for which site, and who may read, act and administer. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import sqlalchemy as sa

from collector.database import sessions, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

Role = Literal["site", "viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
_RANK = {"site": 0, "viewer": 1, "operator": 2, "admin": 3}
_SESSION_NS = 12 * 3600 * 1_000_000_000
_MOST_REMEMBERED = 10_000  # guesses must not fill the memory
_REMEMBER_NS = 5 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Token:
    """What a token allows: a site's token writes for that site alone, an admin's for all."""

    id: int
    role: Role
    site: str | None = None

    def may(self, role: Role) -> bool:
        """Tell whether this token has at least the rights of `role`."""
        return _RANK[self.role] >= _RANK[role]


class Tokens:
    """The tokens in the database, remembered for some seconds: so long a revoked one may still be taken."""

    def __init__(self, database: sa.Engine, clock: Callable[[], int] = time.time_ns) -> None:
        """Read and write `database`; `clock` returns nanoseconds since the epoch."""
        self._database = database
        self._clock = clock
        self._remembered: dict[str, tuple[int, Token | None]] = {}

    def new(self, role: Role, site: str | None = None) -> str:
        """Make a token and return its secret, which is kept nowhere."""
        secret = "nhip_" + secrets.token_urlsafe(32)
        row = {"hash": _hash(secret), "role": role, "site": site, "created_at": self._clock()}
        with self._database.begin() as db:
            db.execute(sa.insert(tokens).values(row))
        return secret

    def list(self) -> list[dict[str, object]]:
        """Return every token without its secret."""
        columns = [c for c in tokens.c if c.name != "hash"]
        with self._database.connect() as db:
            return [dict(row) for row in db.execute(sa.select(*columns).order_by(tokens.c.id)).mappings()]

    def revoke(self, number: int) -> bool:
        """Revoke a token by its number, and with it the sessions it signed in; False if there is none to revoke."""
        with self._database.begin() as db:
            db.execute(sa.delete(sessions).where(sessions.c.token == number))
            change = sa.update(tokens).where(tokens.c.id == number, tokens.c.revoked_at.is_(None))
            return db.execute(change.values(revoked_at=self._clock())).rowcount > 0

    def find(self, secret: str) -> Token | None:
        """Return the token with this secret, or None for an unknown or revoked one."""
        return self._remember(_hash(secret), self._find_token)

    def session(self, secret: str) -> Token | None:
        """Return the token that signed this session in, or None for an unknown or expired one."""
        return self._remember("session:" + _hash(secret), self._find_session)

    def sign_in(self, token: Token) -> str:
        """Begin a session and return its secret, for a cookie."""
        secret = secrets.token_urlsafe(32)
        row = {"hash": _hash(secret), "token": token.id, "expires_at": self._clock() + _SESSION_NS}
        with self._database.begin() as db:
            db.execute(sa.delete(sessions).where(sessions.c.expires_at < self._clock()))
            db.execute(sa.insert(sessions).values(row))
        return secret

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self._remembered.pop("session:" + _hash(secret), None)
        with self._database.begin() as db:
            db.execute(sa.delete(sessions).where(sessions.c.hash == _hash(secret)))

    def _remember(self, key: str, find: Callable[[str], Token | None]) -> Token | None:
        now = self._clock()
        known = self._remembered.get(key)
        if known is None or known[0] < now:
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[key] = (now + _REMEMBER_NS, find(key.removeprefix("session:")))
        return known[1]

    def _find_token(self, digest: str) -> Token | None:
        query = sa.select(tokens.c.id, tokens.c.role, tokens.c.site)
        return self._one(query.where(tokens.c.hash == digest, tokens.c.revoked_at.is_(None)))

    def _find_session(self, digest: str) -> Token | None:
        query = sa.select(tokens.c.id, tokens.c.role, tokens.c.site).join(sessions, sessions.c.token == tokens.c.id)
        fresh = sessions.c.expires_at > self._clock()
        return self._one(query.where(sessions.c.hash == digest, fresh, tokens.c.revoked_at.is_(None)))

    def _one(self, query: sa.Select[Any]) -> Token | None:
        with self._database.connect() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else Token(row["id"], cast("Role", row["role"]), row["site"])


def _hash(secret: str) -> str:
    """Hash a secret. It is 256 random bits, so a plain hash keeps it: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
