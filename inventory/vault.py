"""An inventory's secrets: made at random, written encrypted, shown to nobody. Needs `nhip[operator]`."""

from __future__ import annotations

import os
import secrets
import string
from typing import TYPE_CHECKING, Any

import yaml

from inventory.age_key import new_pair
from inventory.places import VAULT_HEADER

if TYPE_CHECKING:
    from pathlib import Path

    from inventory.places import Problems

PASSWORD_FILE = ".vault-password"  # noqa: S105  (a file's name)
VAULT = "group_vars/all/vault.yml"
BACKUP = "group_vars/all/backup.yml"
NAMES = {
    "vault_snmp_authentication_password": "who reads our hosts by SNMP proves it with this",
    "vault_snmp_privacy_password": "and what is read is encrypted with this",
    "vault_backup_identity": "opens every backup: without it they are lost, so keep a copy on paper, in a safe",
}
"""Each secret that the roles ask for, and what it is for."""

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 32
_BACKUP = """\
# Whom backups are encrypted to: age's public keys. The first one's secret half is vault_backup_identity in the vault.
# Add the key of a second person, so that nobody's absence keeps a backup shut.
backup_recipients:
  - {recipient}
"""


class VaultError(Exception):
    """Secrets cannot be written or read; says what is missing."""


def write_secrets(folder: Path, password_file: Path | None) -> Path:
    """Write fresh secrets into an inventory that has none, and return the file with their password.

    Without a password file a new one is made, which only its owner may read and git does not see.
    """
    if (folder / VAULT).exists():
        raise VaultError(
            f"{folder / VAULT} is there: secrets in use are never replaced; ansible-vault edit changes them"
        )
    library = _library()
    kept = password_file or folder / PASSWORD_FILE
    password = read_password(kept) if kept.exists() or password_file else _new_password(kept)
    identity, recipient = new_pair()
    made = {name: _random() for name in NAMES} | {"vault_backup_identity": identity}
    lines = [f'# {NAMES[name]}\n{name}: "{value}"' for name, value in made.items()]
    text = "# The province's secrets. To change them: ansible-vault edit\n" + "\n".join(lines) + "\n"
    (folder / VAULT).parent.mkdir(parents=True, exist_ok=True)
    (folder / VAULT).write_bytes(library.VaultLib().encrypt(text.encode(), library.VaultSecret(password)))
    (folder / BACKUP).write_text(_BACKUP.format(recipient=recipient), encoding="utf-8")
    return kept


def vault_problems(folder: Path, password_file: Path | None) -> tuple[Problems, str]:
    """Return what is wrong with an inventory's vault, and a remark where it cannot be told.

    Names of secrets are told, their values never.
    """
    path = folder / VAULT
    if not path.exists():
        return [], f"no {VAULT} yet: `nhip inventory secrets {folder}` makes it, before the first playbook runs"
    if not path.read_text(encoding="utf-8", errors="replace").startswith(VAULT_HEADER):
        return [(VAULT, "is not encrypted: `ansible-vault encrypt` it, and take every secret in it for known")], ""
    kept = password_file or _kept(folder)
    if kept is None:
        return [], f"{VAULT} was not opened: name its password by --vault-password-file"
    try:
        return _missing(path, kept), ""
    except VaultError as exc:
        return [], f"{VAULT} was not opened: {exc}"


def _missing(path: Path, kept: Path) -> Problems:
    """Open a vault and name what it lacks; `VaultError` where it cannot be tried."""
    password, library = read_password(kept), _library()
    keys = library.VaultLib([("default", library.VaultSecret(password))])
    try:
        held = yaml.safe_load(keys.decrypt(path.read_bytes()))
    except library.AnsibleError:
        return [(VAULT, f"is not opened by the password in {kept}")]
    except yaml.YAMLError:  # said without its words, which quote the text
        return [(VAULT, "is not valid YAML inside: ansible-vault edit shows it")]
    names = held if isinstance(held, dict) else {}
    return [(VAULT, f"{name} is missing: {words}") for name, words in NAMES.items() if not names.get(name)]


def read_password(path: Path) -> bytes:
    """Return the password that a file holds; `VaultError` when there is none."""
    try:
        password = path.read_bytes().strip()
    except OSError as exc:
        raise VaultError(f"{path}: {exc.strerror}") from None
    if not password:
        raise VaultError(f"{path} is empty: it must hold the vault's password")
    return password


def _new_password(path: Path) -> bytes:
    password = _random()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password + "\n")
    return password.encode()


def _kept(folder: Path) -> Path | None:
    return path if (path := folder / PASSWORD_FILE).exists() else None


def _library() -> Any:
    try:
        from ansible.parsing import vault  # noqa: PLC0415  (operators alone have it)
    except ImportError:
        raise VaultError("ansible-core is missing: install nhip[operator]") from None
    return vault


def _random() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
