"""Keys that the roles hand around: pinned host keys, keys that may send backups, SNMP's keys of each host."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.type.univ import OctetString
from pysnmp.proto.secmod.rfc3414 import localkey

from tests.playbooks.role_files import load

if TYPE_CHECKING:
    from types import ModuleType

PINS: ModuleType = load("ssh/filter_plugins/ssh_known_hosts.py")
SENDERS: ModuleType = load("backup/filter_plugins/backup_authorized_keys.py")
SNMP: ModuleType = load("snmp/filter_plugins/snmp_keys.py")

hosts = st.sampled_from(["10.92.240.6", "10.92.240.60", "10.92.1.11"])


def test_a_host_that_was_made_anew_replaces_its_pin_and_no_other() -> None:
    before = PINS.ssh_known_hosts("", [("10.92.240.6", "OLD"), ("10.92.240.60", "OTHER")])
    after = PINS.ssh_known_hosts(before, [("10.92.240.6", "NEW")])
    assert after.splitlines()[1:] == ["10.92.240.6 ssh-ed25519 NEW", "10.92.240.60 ssh-ed25519 OTHER"]


def test_another_port_is_written_as_ssh_looks_it_up() -> None:
    assert "[10.92.240.6]:2222 ssh-ed25519 KEY\n" in PINS.ssh_known_hosts("", [("10.92.240.6", "KEY")], 2222)


@given(st.lists(st.tuples(hosts, st.sampled_from(["A", "B"])), min_size=1, max_size=6))
def test_pinning_in_waves_or_again_gives_the_same_file(pins: list[tuple[str, str]]) -> None:
    text = ""
    for pin in pins:
        text = PINS.ssh_known_hosts(text, [pin])
    assert text == PINS.ssh_known_hosts(text, list(dict(pins).items()))


def test_a_key_may_send_archives_of_its_own_host_and_do_nothing_else() -> None:
    first = SENDERS.backup_authorized_keys(
        "", {"31117-gateway": "ssh-ed25519 OLD one\n", "31120-gateway": "ssh-ed25519 B two\n"}
    )
    text = SENDERS.backup_authorized_keys(first, {"31117-gateway": "ssh-ed25519 NEW one\n"})
    assert text.splitlines()[1:] == [
        'restrict,command="/usr/local/sbin/nhip-backup receive 31117-gateway" ssh-ed25519 NEW one',
        'restrict,command="/usr/local/sbin/nhip-backup receive 31120-gateway" ssh-ed25519 B two',
    ]


@given(st.text(min_size=8, max_size=40), st.text("abcdefgh-0123456789", min_size=1, max_size=27))
def test_snmp_keys_are_those_that_another_implementation_makes(password: str, name: str) -> None:
    engine = SNMP.snmp_engine_id(name)
    theirs = _theirs(password.encode(), bytes.fromhex(engine))
    assert SNMP.snmp_localized_key(password, engine, what="password") == theirs.hex()
    assert SNMP.snmp_localized_key(password, engine, what="password", octets=16) == theirs[:16].hex()


def test_an_engine_id_is_of_the_form_of_rfc_3411() -> None:
    assert SNMP.snmp_engine_id("os1") == "80001f88046f7331"


def test_a_short_password_is_refused_without_being_shown() -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        SNMP.snmp_localized_key("hunter2", "80001f88046f7331", what="snmp_privacy_password")
    assert str(refused.value) == "snmp_privacy_password has 7 characters; SNMPv3 takes 8 or more"


def test_a_name_that_is_too_long_for_an_engine_id_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="has 28 bytes"):
        SNMP.snmp_engine_id("x" * 28)


def _theirs(password: bytes, engine: bytes) -> bytes:
    return bytes(localkey.localize_key(localkey.hash_passphrase(password, sha256), OctetString(engine), sha256))
