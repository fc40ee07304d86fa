"""Independent judges of what was provisioned, Debian's: ssh-audit and testssl.sh from outside, lynis from within."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LYNIS = ("/usr/sbin/lynis", "/usr/share/lynis", "/etc/lynis")
_REPORT = re.compile(r"^(hardening_index|warning\[\]|suggestion\[\])=(.*)$", re.MULTILINE)
# What lynis warns of and what is meant to be so.
_MEANT = {
    "PKGS-7388": "security updates come from the data centre's mirror, which is not called security",
    "NETW-2705": "a site has one resolver, the data centre's",
}


_TLS_MEANT = {
    "cert_revocation": "an authority of our own revokes by giving agents another one",
    "DNS_CAArecord": "no public authority may know the province's names at all",
    "engine_problem": "of testssl.sh's own OpenSSL",
}
_GOOD = ("OK", "INFO")
_UNTRIED = "check failed because of connect problem"  # on a machine that is busy: it says nothing of the server
_PROTOCOLS = {
    "SSLv2": "SSL 2",
    "SSLv3": "SSL 3",
    "TLS1": "TLS 1.0",
    "TLS1_1": "TLS 1.1",
    "TLS1_2": "TLS 1.2",
    "TLS1_3": "TLS 1.3",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """What testssl.sh found: the protocols that are offered, and what it marks, but for what is meant to be so."""

    protocols: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lynis:
    """What lynis found: its index of 100, and its warnings but for those that are meant to be so."""

    index: int
    warnings: tuple[str, ...]
    suggestions: int


def ssh_failures(prefix: Sequence[str], address: str) -> list[str]:
    """Return what ssh-audit marks as failed of the server at `address`; `prefix` runs a command at the control node."""
    command = [*prefix, "ssh-audit", "--batch", "--level=fail", "--no-colors", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "(gen)" not in done.stdout and done.returncode not in (0, 2, 3):
        raise AssertionError(f"ssh-audit could not judge {address}: {done.stdout}{done.stderr}")
    return [line.strip() for line in done.stdout.splitlines() if "[fail]" in line]


def tls(prefix: Sequence[str], address: str, authority: str) -> Tls:
    """Let testssl.sh judge the server at `address`; `prefix` runs a command at the control node."""
    with tempfile.TemporaryDirectory() as folder:
        believed, report = Path(folder, "ca.pem"), Path(folder, "report.json")
        believed.write_text(authority, encoding="ascii")
        quiet = ("--quiet", "--color", "0", "--warnings", "off", "--connect-timeout", "10", "--openssl-timeout", "10")
        what = ("--protocols", "--server-defaults", "--fs", "--header", "--vulnerable")
        command = [*prefix, "testssl", *quiet, *what, "--add-ca", str(believed), "--jsonfile", str(report), address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert report.exists(), f"testssl.sh could not judge {address}: {done.stdout}{done.stderr}"
        found = json.loads(report.read_text(encoding="utf-8"))
    offered = tuple(
        _PROTOCOLS[each["id"]] for each in found if each["id"] in _PROTOCOLS and each["finding"].startswith("offered")
    )
    judged = (each for each in found if each["finding"] != _UNTRIED and each["id"] not in _TLS_MEANT)
    marks = (each for each in judged if each["severity"] not in _GOOD)
    return Tls(offered, tuple(f"{each['id']}: {each['severity']}: {each['finding']}" for each in marks))


def lynis(prefix: Sequence[str]) -> Lynis:
    """Run lynis on a host and take it away again; `prefix` is an SSH command that runs one there as root.

    Raises AssertionError with lynis' last words where it could not judge.
    """
    folder = "/run/nhip-judge"
    unpack = f"mkdir -p {folder} && tar -x -C {folder} && ln -sfn {folder}/usr/share/lynis /usr/share/lynis"
    audit = (
        f"cd {folder} && ./usr/sbin/lynis audit system --quick --no-colors --profile {folder}/etc/lynis/default.prf "
        f"--plugindir {folder}/etc/lynis/plugins "
        f"--logfile {folder}/log --report-file {folder}/report >{folder}/said 2>&1 "
        f"&& cat {folder}/report || tail {folder}/said"
    )
    subprocess.run([*prefix, unpack], input=_packed(), check=True, capture_output=True)
    try:
        report = subprocess.run([*prefix, audit], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*prefix, f"rm -rf {folder} /usr/share/lynis"], check=True, capture_output=True)
    found = _REPORT.findall(report)
    warnings = tuple(words for key, words in found if key == "warning[]" and words.partition("|")[0] not in _MEANT)
    index = [int(words) for key, words in found if key == "hardening_index"]
    assert index, f"lynis could not judge: {report}"
    return Lynis(index[0], warnings, sum(key == "suggestion[]" for key, _ in found))


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in _LYNIS:
            tar.add(path, arcname=path[1:])
    return packed.getvalue()
