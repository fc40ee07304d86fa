"""Bad luck ends in one clear message that says what to do, and no secret is in it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.control import ROOT, Control
from tests.running import free_port, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)  # whole runs of Ansible, on a machine that may be busy


def test_a_host_that_cannot_be_reached_is_named_with_its_address_and_what_to_do(control: Control) -> None:
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    control.sites({"31117": away, "31120": {}})
    control.role("base", "- {name: Look, ansible.builtin.ping: }\n")
    run = control.run("communes.yml", ANSIBLE_SSH_RETRIES="0", ANSIBLE_SSH_ARGS="")
    assert run.returncode == 4, run.stdout
    assert "✖ 31117 Phường 31117 · 31117-gateway" in run.stdout
    assert "cannot be reached at 127.0.0.1: nothing listens on its SSH port" in run.stdout
    assert "do: look at its power and its line, and at ansible_host in the inventory; then run again" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("2 sites, 0 changed, 1 failed; ")


def test_a_second_run_is_refused_with_who_runs_what_since_when(control: Control, tmp_path: Path) -> None:
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)
    control.role("base", f"- {{name: Wait, ansible.builtin.command: cat {fifo}, changed_when: false}}\n")
    control.sites({"31117": {}})
    command, environment = control.command("communes.yml")
    first = subprocess.Popen(command, cwd=control.folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        until((control.inventory / ".run.lock").exists, 60, "the first run's lock")
        until(
            lambda: (tmp_path / "remote.lock").exists() and (tmp_path / "remote.lock").read_text(), 60, "the other lock"
        )
        second = control.run("site.yml")
        assert second.returncode == 2, second.stdout
        assert "on this machine has been running communes.yml since 2" in second.stdout
        assert f"(process {first.pid}): wait until it has ended" in second.stdout
    finally:
        first.kill()
        first.wait()
        fifo.unlink()
    control.role("base", "")
    third = control.run("communes.yml")
    assert third.returncode == 0, f"the lock of a dead run is taken over\n{third.stdout}"
    assert (tmp_path / "remote.lock").read_text() == "", "and given back at the end"


def test_another_control_node_is_refused_until_the_lease_ends_or_it_is_told_otherwise(
    control: Control, tmp_path: Path
) -> None:
    told = (
        '{"run": "1/2/3", "machine": "another", "who": "lan", "node": "control-2", "what": "rollout.yml", '
        '"since": "2026-01-02T03:04:05+00:00", "renewed_at": 1, "expires_at": %s}'
    )
    control.sites({"31117": {}})
    (tmp_path / "remote.lock").write_text(told % 10**11)
    refused = control.run("communes.yml")
    assert refused.returncode == 2, refused.stdout
    assert "lan on control-2 has been running rollout.yml since 2026-01-02" in refused.stdout
    assert "or now with -e run_lock_take_over=true" in refused.stdout
    assert control.run("communes.yml", "-e", "run_lock_take_over=true").returncode == 0
    (tmp_path / "remote.lock").write_text(told % 2)
    assert control.run("communes.yml").returncode == 0, "its lease has ended"
    (tmp_path / "remote.lock").write_text('{"run": "1/2/')
    assert control.run("communes.yml").returncode == 0, "cut short by a power failure: nobody's"


def test_a_missing_vault_password_is_said_with_what_to_do(control: Control, tmp_path: Path) -> None:
    control.sites({"31117": {}})
    folder = control.inventory / "group_vars/all"
    folder.mkdir(parents=True)
    (tmp_path / "password").write_text("correct horse")
    vault = folder / "vault.yml"
    vault.write_text("vault_secret: s3cret-of-the-province\n")
    seal = [
        str(ROOT / ".venv/bin/ansible-vault"),
        "encrypt",
        "--vault-password-file",
        str(tmp_path / "password"),
        str(vault),
    ]
    subprocess.run(seal, check=True, capture_output=True)
    run = control.run("communes.yml")
    assert run.returncode == 4
    assert run.stdout.splitlines()[1:] == [
        f"✖ {vault}: the secrets cannot be read: the vault's password is missing or wrong",
        "    do: name the file that holds it: export ANSIBLE_VAULT_PASSWORD_FILE=FILE",
    ]
    (tmp_path / "wrong").write_text("battery staple")
    wrong = control.run("communes.yml", ANSIBLE_VAULT_PASSWORD_FILE=str(tmp_path / "wrong"))
    assert "the vault's password is missing or wrong" in wrong.stdout
    opened = control.run("communes.yml", ANSIBLE_VAULT_PASSWORD_FILE=str(tmp_path / "password"))
    assert opened.returncode == 0, opened.stdout


def test_a_secret_is_never_shown_not_even_by_what_fails(control: Control) -> None:
    hidden = "- {name: Use a secret, ansible.builtin.command: sh -c 'echo s3cret >&2; false', no_log: true}\n"
    control.role("base", hidden)
    control.sites({"31117": {}})
    run = control.run("communes.yml", "--diff", "-v")
    assert run.returncode == 2
    assert "its output is hidden because it may hold secrets" in run.stdout
    assert "s3cret" not in run.stdout.replace("'echo s3cret", "")
