"""The token that lets a site write: read from a file of its own, and never shown by accident."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Token(str):
    """A secret that shows itself only to who asks for its text with `reveal`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<token>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def reveal(self) -> str:
        """Return the secret's text."""
        return "".join(self)


def read_token(path: Path) -> Token:
    """Read the token; `ValueError` where the file is missing, open to everyone, or does not hold one word."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} does not hold a token: it is not plain ASCII") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"{path} is open to every user of this machine (mode {mode & 0o777:04o}): chmod 0600 {path}")
    if not text:
        raise ValueError(f"{path} is empty; it must hold the token that `nhip token new --site …` printed")
    if len(text.split()) != 1 or not text.isprintable():
        raise ValueError(f"{path} must hold one token on one line and nothing else")
    return Token(text)
