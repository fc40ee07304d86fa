"""A secret read from a file of its own, and never shown by accident: tokens, keys, passwords."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SHORTEST_KEY_BYTES = 16


class Secret(str):
    """A text that shows itself only to who asks for it with `reveal`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def reveal(self) -> str:
        """Return the secret's text."""
        return "".join(self)


def read_secret(path: Path, holds: str, more: str = "", *, ascii_only: bool = False) -> Secret:
    """Read a file that holds one secret on one line. `ValueError` where it is missing, open to everyone, or does not.

    `holds` names the secret in the messages ("token"), `more` says where it comes from (" that … printed"). What
    travels in a header of HTTP must be `ascii_only`.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii" if ascii_only else "utf-8").strip()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        kind = "plain ASCII" if ascii_only else "text in UTF-8"
        raise ValueError(f"{path} does not hold a {holds}: it is not {kind}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"{path} is open to every user of this machine (mode {mode & 0o777:04o}): chmod 0600 {path}")
    if not text:
        raise ValueError(f"{path} is empty; it must hold the {holds}{more}")
    if len(text.split()) != 1 or not text.isprintable():
        raise ValueError(f"{path} must hold one {holds} on one line and nothing else")
    return Secret(text)


def read_key(path: Path) -> bytes:
    """Read a key for HMAC: at least 128 bits as hexadecimal digits, for example from `openssl rand -hex 32`."""
    text = read_secret(path, "key", " as hexadecimal digits, as `openssl rand -hex 32` prints it").reveal()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{path} does not hold hexadecimal digits, as `openssl rand -hex 32` prints them") from None
    if len(key) < _SHORTEST_KEY_BYTES:
        raise ValueError(f"{path} holds a key of {len(key) * 8} bits; `openssl rand -hex 32` makes one of 256")
    return key
