"""A new inventory's secrets: made at random, written encrypted, shown to nobody. Needs `nhip[operator]`."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD_FILE = ".vault-password"  # noqa: S105  (a file's name)
NAMES = {
    "vault_snmp_authentication_password": "who reads our hosts by SNMP proves it with this",
    "vault_snmp_privacy_password": "and what is read is encrypted with this",
}
"""Each secret that the roles ask for, and what it is for."""

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 32


class VaultError(Exception):
    """Secrets cannot be written; says what is missing."""


def new_password(path: Path) -> bytes:
    """Write a password nobody has seen into a file that only its owner may read, and return it."""
    password = _random()
    path.touch(mode=0o600)
    path.write_text(password + "\n", encoding="ascii")
    return password.encode()


def read_password(path: Path) -> bytes:
    """Return the password that a file holds; `VaultError` when there is none."""
    try:
        password = path.read_bytes().strip()
    except OSError as exc:
        raise VaultError(f"{path}: {exc.strerror}") from None
    if not password:
        raise VaultError(f"{path} is empty: it must hold the vault's password")
    return password


def new_vault(password: bytes) -> bytes:
    """Return a file of fresh secrets as ansible-vault would write it."""
    try:
        from ansible.parsing import vault  # type: ignore[import-untyped]  # noqa: PLC0415  (operators alone have it)
    except ImportError:
        raise VaultError("ansible-core is missing: install nhip[operator]") from None
    lines = [f'# {words}\n{name}: "{_random()}"' for name, words in NAMES.items()]
    text = "# The province's secrets. To change them: ansible-vault edit\n" + "\n".join(lines) + "\n"
    encrypted: bytes = vault.VaultLib().encrypt(text.encode(), vault.VaultSecret(password))
    return encrypted


def _random() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
