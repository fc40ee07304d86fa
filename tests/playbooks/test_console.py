"""What an operator reads: a trouble as what happened and what to do, a run in words of sites."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.console.failure import explain
from playbooks.console.progress import Progress, duration
from playbooks.console.screen import Screen


@pytest.mark.parametrize(
    ("result", "what", "do"),
    [
        (
            {"msg": "MODULE FAILURE", "module_stderr": "OSError: [Errno 28] No space left on device: '/root/x'"},
            "the disk is full",
            "free some space",
        ),
        ({"msg": "E: dpkg was interrupted, you must manually run …"}, "cut short", "run again: it is repaired first"),
        ({"msg": "non-zero return code", "rc": 100, "stderr": "\nE: Could not get lock /var/lib/dpkg/lock-frontend"},
         "another program is installing packages there", "wait until it has ended"),
        ({"msg": "Host key verification failed."}, "its host key is not pinned yet", "known_hosts"),
        ({"msg": "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed."},
         "its host key is not the one that is pinned", "compare the key at the site"),
        ({"msg": "root@10.92.240.6: Permission denied (publickey)."}, "it does not take our key", "authorized_keys"),
        ({"msg": "/bin/sh: 1: /usr/bin/python3: not found"}, "there is no Python on it", "docs/operate.md"),
        ({"msg": "Attempting to decrypt but no vault secrets found."}, "the secrets cannot be read",
         "export ANSIBLE_VAULT_PASSWORD_FILE=FILE"),
        ({"msg": "touch: cannot touch 'x': Read-only file system"}, "its disk has become read-only", "dmesg"),
    ],
)  # fmt: skip
def test_a_known_trouble_says_what_to_do(result: dict[str, Any], what: str, do: str) -> None:
    told = explain(result)
    assert what in told.what
    assert do in told.do


@pytest.mark.parametrize(
    ("result", "what"),
    [
        (
            {"msg": "Task failed: it runs Ubuntu;\n  install Debian 12"},
            "it runs Ubuntu;\ninstall Debian 12",
        ),
        ({"msg": "non-zero return code", "rc": 3, "stderr": "one\nthe last word"}, "the last word (exit code 3)"),
        ({"msg": "All items completed", "results": [{"ok": 1}, {"failed": True, "msg": "the second"}]}, "the second"),
        ({"censored": "the output has been hidden"}, "its output is hidden because it may hold secrets"),
        ({}, "it failed and said nothing"),
    ],
)
def test_any_other_failure_is_told_in_its_own_words(result: dict[str, Any], what: str) -> None:
    assert explain(result).what == what


def test_a_host_that_cannot_be_reached_is_told_with_its_address() -> None:
    told = explain({"msg": "ssh: connect to host x port 22: No route to host"}, address="10.92.240.6", unreachable=True)
    assert told.what == "cannot be reached at 10.92.240.6: no route leads to it"


@given(st.dictionaries(st.sampled_from(["msg", "stderr", "rc", "results", "censored"]), st.text() | st.integers()))
def test_no_result_is_too_strange_to_be_told(result: dict[str, Any]) -> None:
    assert explain({**result, "results": []}).what


def test_a_wave_is_told_by_its_accepted_and_failed_sites() -> None:
    progress = Progress()
    assert progress.begin("wave 2", {"31117": "Phường Ninh Kiều", "31120": "Phường Cái Khế"})
    assert not progress.begin("wave 2", {"31117": "Phường Ninh Kiều"}), "the next play of the same wave is no news"
    progress.sites["31117"].accepted = True
    progress.sites["31120"].failed = "31120-gateway: base: the disk is full"
    progress.sites["31117"].changes = ["firewall: Write the rules"]
    assert progress.tally() == "wave 2: 1/2 accepted, 1 failed"
    assert progress.summary(75, check=False) == [
        "✖ 31120 Phường Cái Khế: 31120-gateway: base: the disk is full",
        "  31117 Phường Ninh Kiều: changed: firewall: Write the rules",
        "2 sites, 1 accepted, 1 changed, 1 failed; 1 min 15 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"), (7260, "2 h 01 min")]
)
def test_a_duration_is_told_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_lines_are_taken_away_before_a_lasting_one_and_never_reach_a_log() -> None:
    terminal, lasting = Terminal(), []
    screen = Screen(lambda line, _: lasting.append(line), terminal)
    screen.show(["wave 1: 0/1 accepted", "  31117 Phường Ninh Kiều  base: Install packages"], now=True)
    screen.say("done")
    assert terminal.getvalue().endswith("\x1b[2A\x1b[J")
    assert lasting == ["done"]
    log = io.StringIO()
    Screen(lambda *_: None, log).show(["wave 1"], now=True)
    assert log.getvalue() == ""
