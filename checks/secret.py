"""A secret read from a file of its own, and never shown by accident: tokens, keys, passwords."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from checks.check import CheckError

_SHORTEST_KEY_BYTES = 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


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


def read_secret(path: Path, holds: str, more: str = "", *, ascii_only: bool = False, one_word: bool = True) -> Secret:
    """Read a file that holds one secret on one line. `ValueError` where it is missing, open to everyone, or does not.

    `holds` names the secret in the messages ("token"), `more` says where it comes from (" that … printed"). What
    travels in a header of HTTP must be `ascii_only`; a password may have spaces in it, so it need not be `one_word`.
    """
    text = _read(path, f"a {holds}", ascii_only=ascii_only).strip()
    if not text:
        raise ValueError(f"{path} is empty; it must hold the {holds}{more}")
    if (one_word and len(text.split()) != 1) or not text.isprintable():
        raise ValueError(f"{path} must hold one {holds} on one line and nothing else")
    return Secret(text)


def _read(path: Path, holds: str, *, ascii_only: bool = False) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii" if ascii_only else "utf-8")
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        kind = "plain ASCII" if ascii_only else "text in UTF-8"
        raise ValueError(f"{path} does not hold {holds}: it is not {kind}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"{path} is open to every user of this machine (mode {mode & 0o777:04o}): chmod 0600 {path}")
    return text


def read_environment(path: str | None) -> dict[str, str]:
    """Return what the parameter `environment_file` of a check holds: lines of `NAME=value`, and comments (`#`).

    Nothing where there is no file. `CheckError` says what is wrong with it and in which line, not what stands there.
    """
    if path is None:
        return {}
    try:
        lines = _read(Path(path), "an environment").splitlines()
    except ValueError as exc:
        raise CheckError(f"environment_file {exc}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if not line.strip() or line.startswith("#"):
            continue
        if not equals or not _VARIABLE.match(name) or "\0" in value:
            raise CheckError(f"environment_file {path}: line {number} is not NAME=value")
        found[name] = value
    return found


def read_password(path: str | None) -> str:
    """Return what the parameter `password_file` of a check holds; nothing where there is none.

    `CheckError` says what is wrong with the file.
    """
    if path is None:
        return ""
    try:
        return read_secret(Path(path), "password", one_word=False).reveal()
    except ValueError as exc:
        raise CheckError(f"password_file {exc}") from None


def hide(text: str, *secrets: str) -> str:
    """Return `text` without the secrets in it: a server may say back to us what it was told."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, repr(Secret(secret)))
    return text


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
