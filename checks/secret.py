"""Secrets are read from files: a parameter would show in the configuration, in logs and in the list of processes."""

from __future__ import annotations

from pathlib import Path

from checks.check import CheckError

_LONGEST_BYTES = 4096


def read_secret(parameter: str, path: str) -> str:
    """Return the first line of a file; `CheckError` names the parameter and the file, never what is in it."""
    try:
        with Path(path).open("rb") as file:
            line = file.read(_LONGEST_BYTES).split(b"\n")[0].removesuffix(b"\r")
    except OSError as exc:
        raise CheckError(f"{parameter} {path} cannot be read: {exc.strerror}") from None
    try:
        secret = line.decode()
    except UnicodeDecodeError:
        raise CheckError(f"{parameter} {path} is not UTF-8 text") from None
    if not secret or "\0" in secret:
        raise CheckError(f"{parameter} {path} holds no secret in its first line")
    return secret


def hide(text: str, *secrets: str) -> str:
    """Return `text` without the secrets that a server may have sent back to us."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "(secret)")
    return text
