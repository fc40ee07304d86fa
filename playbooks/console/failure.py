"""A failed task as one message a person can act on: what happened, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_LONGEST = 2000
_MOST_LINES = 20
_ANSIBLES = re.compile(  # what Ansible puts before the words that matter
    r"^((Task failed|Action failed|Finalization of task args for '[^']*' failed|Error while resolving value for '[^']*'"
    r"|The filter plugin '[^']*' failed|Error rendering template): )+"
)
_WORDY = ("msg", "stderr", "module_stderr", "module_stdout", "stdout", "exception")
_HIDDEN = "its output is hidden because it may hold secrets"


class Failure(NamedTuple):
    """What happened, and what there is to do about it ("" where the message says it already)."""

    what: str
    do: str


class _Known(NamedTuple):
    pattern: re.Pattern[str]
    what: str
    do: str


def _known(pattern: str, what: str, do: str) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE), what, do)


_REPAIRED = "then run again: a second run repairs what this one left"
_TROUBLES = (
    _known(
        r"no space left on device|disk quota exceeded|not enough free disk space|errno 28",
        "the disk is full",
        f"free some space on it (`journalctl --vacuum-size=100M`, `apt-get clean`), {_REPAIRED}",
    ),
    _known(
        r"remote host identification has changed|host key for .* has changed",
        "its host key is not the one that is pinned: the machine was replaced, or another answers in its place",
        "compare the key at the site (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`); if it is right, replace the "
        "line in the inventory's known_hosts",
    ),
    _known(
        r"host key verification failed|no .* host key is known",
        "its host key is not pinned yet",
        "read the key at the site (`cat /etc/ssh/ssh_host_ed25519_key.pub`) and add it to the inventory's known_hosts",
    ),
    _known(
        r"permission denied \(|authentication fail",
        "it does not take our key",
        "put the operators' public key into root's authorized_keys at the site, or name another with --private-key",
    ),
    _known(
        r"sudo: a password is required|incorrect sudo password|missing sudo password",
        "its administrator needs a password for sudo",
        "run with --ask-become-pass",
    ),
    _known(
        r"could not get lock /var/lib/(dpkg|apt)|unable to (acquire|lock).*dpkg",
        "another program is installing packages there",
        "wait until it has ended (`systemctl status apt-daily-upgrade`), then run again",
    ),
    _known(r"dpkg was interrupted", "an installation of packages was cut short", "run again: it is repaired first"),
    _known(
        r"no vault secrets|decryption failed|attempting to decrypt",
        "the secrets cannot be read: the vault's password is missing or wrong",
        "name the file that holds it: export ANSIBLE_VAULT_PASSWORD_FILE=FILE",
    ),
    _known(
        r"/usr/bin/python3: (not found|no such file)|no python interpreters|python3.*: not found",
        "there is no Python on it",
        "install Debian 12 as docs/operate.md says; python3 is all that it needs beforehand",
    ),
    _known(r"read-only file system", "its disk has become read-only", "look at the disk (`dmesg`): it may be failing"),
)
_UNREACHABLE = (
    ("no route to host", "no route leads to it"),
    ("network is unreachable", "no route leads to it"),
    ("timed out", "it does not answer"),
    ("timeout", "it does not answer"),
    ("connection refused", "nothing listens on its SSH port"),
    ("could not resolve", "its name is unknown"),
    ("name or service not known", "its name is unknown"),
    ("connection closed", "the connection broke"),
    ("connection reset", "the connection broke"),
    ("broken pipe", "the connection broke"),
)


def explain(result: Mapping[str, Any], *, address: str = "", unreachable: bool = False) -> Failure:
    """Turn a task's result into what happened and what to do. Never quotes a result that hides its output."""
    text = _all_text(result)
    for trouble in _TROUBLES:
        if trouble.pattern.search(text):
            return Failure(trouble.what, trouble.do)
    if unreachable:
        why = next((words for sign, words in _UNREACHABLE if sign in text.lower()), _first(result))
        return Failure(
            f"cannot be reached{f' at {address}' if address else ''}: {why}",
            "look at its power and its line, and at ansible_host in the inventory; then run again",
        )
    if "censored" in result:
        return Failure(_HIDDEN, "look at the machine's own log (`journalctl -p err -b`)")
    return Failure(_first(result), "")


def _all_text(result: Mapping[str, Any]) -> str:
    parts = [str(result.get(key, "")) for key in _WORDY]
    for item in result.get("results") or ():
        if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
            parts.append(_all_text(item))
    return "\n".join(parts)


def _first(result: Mapping[str, Any]) -> str:
    """Return the words that say most: of the first failed item of a loop, else of the result itself."""
    for item in result.get("results") or ():
        if isinstance(item, Mapping) and item.get("failed"):
            return _first(item)
    words = str(result.get("msg") or "").strip()
    if "non-zero return code" in words or "MODULE FAILURE" in words or not words:
        told = [str(result.get(key) or "").strip() for key in ("stderr", "module_stderr", "stdout", "module_stdout")]
        words = next((each.splitlines()[-1] for each in told if each), words or "it failed and said nothing")
        if result.get("rc") not in (None, 0, 1):
            words = f"{words} (exit code {result['rc']})"
    lines = [" ".join(_ANSIBLES.sub("", line).split()) for line in words.splitlines() if line.strip()]
    words = "\n".join(lines[:_MOST_LINES])
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
