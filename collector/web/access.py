"""Who is asking, and what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collector.config import is_loopback
from collector.tokens import Token
from collector.web.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from collector.tokens import Role, Tokens

COOKIE = "nhip_session"


class Access:
    """Finds the token behind a request: a header, the signed-in session, or loopback where that may read."""

    def __init__(self, tokens: Tokens, *, loopback_reads: bool) -> None:
        """Look secrets up in `tokens`."""
        self._tokens = tokens
        self._loopback_reads = loopback_reads

    def of(self, request: HTTPConnection) -> Token | None:
        """Return the token of a request, or None for a stranger. `Problem` 401 for a secret that is not known."""
        header = request.headers.get("authorization", "")
        scheme, _, secret = header.partition(" ")
        if header:
            token = self._tokens.find(secret.strip()) if scheme.lower() in ("token", "bearer") else None
            if token is None:
                raise Problem(401, "the token is not known here: write 'Authorization: Token <token>'")
            return token
        cookie = request.cookies.get(COOKIE)
        if cookie and (token := self._tokens.session(cookie)) is not None:
            _same_origin(request)
            return token
        return Token(0, "viewer") if self._loopback_reads and _from_here(request) else None

    def require(self, request: HTTPConnection, role: Role) -> Token:
        """Return the token of a request that needs `role`; `Problem` 401 or 403 for one that has not."""
        token = self.of(request)
        if token is None:
            raise Problem(401, "sign in, or send 'Authorization: Token <token>'; 'nhip token new' makes one")
        if not token.may(role):
            raise Problem(403, f"this needs the role {role}; 'nhip token new --role {role}' makes such a token")
        return token


def _from_here(request: HTTPConnection) -> bool:
    """Tell whether a request comes from this machine, and was meant for it.

    The name it was sent to counts as much as where it comes from: a page elsewhere can point a name of its own at
    127.0.0.1 and have the browser here ask for it (DNS rebinding).
    """
    client = request.client
    return client is not None and is_loopback(client.host) and is_loopback(request.url.hostname or "")


def _same_origin(request: HTTPConnection) -> None:
    """Refuse an act that another site's page makes the browser send with our cookie."""
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(403, f"a page at {origin} may not act here")
