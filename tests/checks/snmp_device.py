"""A real snmpd that also plays a UPS and a printer."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checks.run import run
from checks.snmp import Snmp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.result import Result

UPS = """\
1.3.6.1.2.1.33.1.2.1.0 integer 3
1.3.6.1.2.1.33.1.2.2.0 integer 95
1.3.6.1.2.1.33.1.2.3.0 integer 4
1.3.6.1.2.1.33.1.2.4.0 integer 62
1.3.6.1.2.1.33.1.2.5.0 integer 241
1.3.6.1.2.1.33.1.3.3.1.3.1 integer 0
1.3.6.1.2.1.33.1.4.1.0 integer 5
1.3.6.1.2.1.33.1.4.4.1.5.1 integer 35
1.3.6.1.2.1.33.1.6.1.0 gauge 2
"""
PRINTER = """\
1.3.6.1.2.1.43.8.2.1.9.1.1 integer 250
1.3.6.1.2.1.43.8.2.1.9.1.2 integer 250
1.3.6.1.2.1.43.8.2.1.10.1.1 integer 50
1.3.6.1.2.1.43.8.2.1.10.1.2 integer -3
1.3.6.1.2.1.43.8.2.1.13.1.1 string Tray 1
1.3.6.1.2.1.43.8.2.1.13.1.2 string Bypass
1.3.6.1.2.1.43.10.2.1.4.1.1 counter 48213
1.3.6.1.2.1.43.11.1.1.6.1.1 string Toner [black]
1.3.6.1.2.1.43.11.1.1.6.1.2 string Drum
1.3.6.1.2.1.43.11.1.1.8.1.1 integer 2600
1.3.6.1.2.1.43.11.1.1.8.1.2 integer -2
1.3.6.1.2.1.43.11.1.1.9.1.1 integer 130
1.3.6.1.2.1.43.11.1.1.9.1.2 integer 20
"""
HOST_PRINTER = """\
1.3.6.1.2.1.25.3.5.1.1.1 integer 3
1.3.6.1.2.1.25.3.5.1.2.1 octet 50
"""


class Device:
    """A running snmpd, and files of credentials for it."""

    def __init__(self, home: Path, port: int) -> None:
        """Take where it lives and listens."""
        self._home, self.target = home, f"127.0.0.1:{port}"

    def credentials(self, **words: str) -> str:
        """Write a private file of credentials."""
        file = self._home / f"credentials-{len(list(self._home.iterdir()))}"
        file.touch(mode=0o600)
        file.write_text("".join(f"{key}: {value}\n" for key, value in words.items()), encoding="utf-8")
        return str(file)

    async def ask(self, **parameters: Any) -> Result:
        """Ask it, as the reader of all of it if not told otherwise."""
        given = {"credentials_file": self.credentials(community="commune31120"), **parameters}
        return await run(Snmp(**given), self.target, site="s", node="n")


@contextlib.contextmanager
def running_snmpd(home: Path, ups: str) -> Iterator[Device]:
    """Run an snmpd for the length of a block; `ups` is what it says as a UPS, as `snmp_pass.py` reads it."""
    program = shutil.which("snmpd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("snmpd is not installed (apt install snmpd)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    lines = ["rocommunity commune31120", "rouser plain noauth", "rouser signed auth", "rouser sealed priv"]
    played = {"ups": ("1.3.6.1.2.1.33", ups), "printer": ("1.3.6.1.2.1.43", PRINTER)}
    for name, (root, objects) in {**played, "host": ("1.3.6.1.2.1.25.3.5", HOST_PRINTER)}.items():
        (home / name).write_text(objects, encoding="utf-8")
        script = Path(__file__).with_name("snmp_pass.py")
        lines.append(f"pass_persist -p 1 {root} {sys.executable} {script} {home / name}")
    (home / "etc").mkdir()
    (home / "state").mkdir()
    (home / "etc/snmpd.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
    users = ("plain", "signed SHA signsign1", "sealed SHA-256 signsign2 AES sealseal2")
    (home / "state/snmpd.conf").write_text("".join(f"createUser {user}\n" for user in users), encoding="ascii")
    environment = {
        **os.environ, "SNMPCONFPATH": f"{home}/etc:{home}/state", "SNMP_PERSISTENT_DIR": f"{home}/state", "MIBS": "",
    }  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-f", "-Lo", f"udp:127.0.0.1:{port}"], env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while b"NET-SNMP version" not in (home / "log").read_bytes():
            assert process.poll() is None, (home / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Device(home, port)
    finally:
        process.terminate()
        process.wait(20)
