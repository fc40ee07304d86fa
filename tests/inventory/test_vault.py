"""Secrets of a new inventory: made at random, encrypted, and opened by what Ansible and age themselves use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inventory.age_key import bech32, new_pair
from inventory.command import main
from inventory.vault import NAMES

VAULT = "group_vars/all/vault.yml"


def ansible_vault(*words: str, folder: Path) -> str:
    program = Path(sys.executable).with_name("ansible-vault")
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write an inventory of one commune, without secrets."""
    made = tmp_path / "one"
    assert main(["new", "--province", "92", "--only", "31120", "--out", str(made), "--without-secrets"]) == 0
    return made


def test_ansible_opens_what_we_wrote_and_every_secret_is_there(folder: Path) -> None:
    assert main(["secrets", str(folder)]) == 0
    assert (folder / ".vault-password").stat().st_mode & 0o777 == 0o600
    opened = ansible_vault("view", "--vault-password-file", ".vault-password", VAULT, folder=folder)
    held = yaml.safe_load(opened)
    assert set(held) == set(NAMES)
    assert len(set(held.values())) == len(held)
    assert not [name for name in held if held[name] in (folder / VAULT).read_text(encoding="utf-8")]


def test_age_itself_finds_the_recipient_to_the_identity(folder: Path) -> None:
    identity, recipient = new_pair()
    done = subprocess.run(["age-keygen", "-y"], input=identity, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == recipient
    assert main(["secrets", str(folder)]) == 0
    opened = ansible_vault("view", "--vault-password-file", ".vault-password", VAULT, folder=folder)
    identity = yaml.safe_load(opened)["vault_backup_identity"]
    done = subprocess.run(["age-keygen", "-y"], input=identity, capture_output=True, text=True, timeout=30, check=True)
    backup = (folder / "group_vars/all/backup.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(backup) == {"backup_recipients": [done.stdout.strip()]}


def test_bech32_is_that_of_its_standard() -> None:
    assert bech32("a", b"") == "a12uel5l", "a test vector of BIP 173"


def test_secrets_in_use_are_never_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", str(folder)]) == 0
    before = (folder / VAULT).read_bytes()
    assert main(["secrets", str(folder)]) == 1
    assert "secrets in use are never replaced" in capsys.readouterr().err
    assert (folder / VAULT).read_bytes() == before


def test_a_password_of_ones_own_is_used_and_no_other_is_made(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "password"
    own.write_text("of my own\n", encoding="utf-8")
    assert main(["secrets", str(folder), "--vault-password-file", str(own)]) == 0
    assert not (folder / ".vault-password").exists()
    assert "vault_snmp" in ansible_vault("view", "--vault-password-file", str(own), VAULT, folder=folder)


def test_an_inventory_without_a_vault_says_how_to_make_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["check", str(folder)]) == 0
    assert f"note: no {VAULT} yet: `nhip inventory secrets {folder}` makes it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("open", f"{VAULT}: is not encrypted: `ansible-vault encrypt` it, and take every secret in it for known"),
        ("password", f"{VAULT}: is not opened by the password in "),
        ("forgotten", f"{VAULT}: vault_snmp_privacy_password is missing: and what is read is encrypted with this"),
    ],
)
def test_a_vault_that_will_not_serve_is_named_and_never_shown(
    spoil: str, words: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["secrets", str(folder)]) == 0
    opened = ansible_vault("view", "--vault-password-file", ".vault-password", VAULT, folder=folder)
    secret = yaml.safe_load(opened)["vault_snmp_authentication_password"]
    if spoil == "open":
        (folder / VAULT).write_text(opened, encoding="utf-8")
    elif spoil == "password":
        (folder / ".vault-password").write_text("another\n", encoding="utf-8")
    else:
        kept = [line for line in opened.splitlines() if "privacy" not in line]
        (folder / VAULT).write_text("\n".join(kept), encoding="utf-8")
        ansible_vault("encrypt", "--vault-password-file", ".vault-password", VAULT, folder=folder)
    assert main(["check", str(folder)]) == 1
    told = capfd.readouterr()
    assert words in told.err
    assert secret not in told.out + told.err


def test_a_folder_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("secrets", "check"):
        assert main([command, str(tmp_path / "nowhere")]) == 1
        assert "is no folder: an inventory is one, `nhip inventory new` makes it" in capsys.readouterr().err
