"""A lab as its user has it: `with Lab.up(…) as lab: lab.ask("cut", line="31120")`. The command calls this."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.lab import console, groups, owner
from tests.lab.keys import ssh_options, ssh_settings
from tests.lab.made import Made
from tests.lab.places import DEFAULT, RUNTIME, Places
from tests.lab.plan import CONTROL
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "inventory" / "lab"
_DOWN_SECONDS = 60


class Lab:
    """A running lab, spoken to over its owner's socket."""

    def __init__(self, name: str = DEFAULT) -> None:
        """Name it; `up` makes it."""
        self.places = Places(name)
        self._owner: subprocess.Popen[str] | None = None

    @classmethod
    def up(
        cls,
        name: str = DEFAULT,
        *,
        inventory: Path = INVENTORY,
        only: Sequence[str] = (),
        attached: bool = True,
        say: Callable[[str], None] = print,
    ) -> Self:
        """Make a lab of an inventory's province, or of some of its sites, and boot it; LabError says why it cannot be.

        An attached lab ends with this process, however that ends; another stays until somebody takes it `down`.
        """
        lab = cls(name)
        command = [sys.executable, "-m", "tests.lab.owner", "--name", name, "--inventory", str(inventory.absolute())]
        command += [f"--only={site}" for site in only] + (["--attached"] if attached else [])
        with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
            lab._owner = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
            try:
                lab._follow(say)
            except BaseException:
                lab._stop_owner()
                log.seek(0)
                sys.stderr.write(log.read())
                raise
        return lab

    def _follow(self, say: Callable[[str], None]) -> None:
        assert self._owner is not None
        assert self._owner.stdout is not None
        for line in self._owner.stdout:
            told = json.loads(line)
            if "say" in told:
                say(told["say"])
            elif "error" in told:
                raise LabError(told["error"])
            else:
                return
        raise LabError("the lab's owner ended before it was up")

    def _stop_owner(self) -> None:
        if self._owner is None:
            return
        if self._owner.poll() is None:
            self._owner.terminate()
        self._owner.wait(_DOWN_SECONDS)
        for stream in (self._owner.stdin, self._owner.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        """Give the lab for the length of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self.down()

    def down(self) -> bool:
        """Take the lab away, whether its owner lives or not; return whether there was anything."""
        deadline = time.monotonic() + _DOWN_SECONDS
        there = self.places.record.exists() or self.places.folder.exists()
        lock = owner.take_lock(self.places)
        while lock is None:
            try:
                self.ask("down")
            except LabError:  # not ready, or gone
                self._signal_owner()
            if time.monotonic() > deadline:
                raise LabError(f"the owner of {self.places.name} (process {self._owner_pid()}) does not end")
            time.sleep(0.05)
            lock = owner.take_lock(self.places)
        try:
            Made(self.places.record).undo()
            self.places.lock.unlink(missing_ok=True)
        finally:
            os.close(lock)
        if RUNTIME.exists() and not any(RUNTIME.iterdir()):
            RUNTIME.rmdir()
        self._stop_owner()
        return there

    def _owner_pid(self) -> int:
        return int(self.places.lock.read_text(encoding="ascii") or 0)

    def _signal_owner(self) -> None:
        pid = self._owner_pid()
        if pid:
            os.kill(pid, 15)

    def ask(self, verb: str, **words: object) -> Any:
        """Call one of the owner's verbs (`verbs.py`) and return its answer; LabError says why it was refused."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.places.socket))
                sock.sendall(json.dumps({"verb": verb, "with": words}).encode() + b"\n")
                answer = json.loads(sock.makefile().readline() or "{}")
        except OSError:
            raise LabError(f"the lab {self.places.name} is not up; type: {self.places.command} up") from None
        if "error" in answer:
            raise LabError(answer["error"])
        return answer.get("answer")

    def within(self, space: str) -> list[str]:
        """Return what goes before a command that is to run, with this machine's files, in a host's network."""
        return ["ip", "netns", "exec", self.places.space(space)]

    def in_control(self, *argv: str) -> list[str]:
        """Return a command that runs `argv` at the control node."""
        # In a group of the lab's: what stays behind there, as ssh's shared connections do, ends with the lab.
        within = groups.paths(self.places.prefix, CONTROL)
        return groups.inside(within, ["ip", "netns", "exec", self.places.space(CONTROL), *argv])

    def ssh_command(self, host: str, *argv: str) -> list[str]:
        """Return a command that runs `argv` at a host over the network, as Ansible reaches it."""
        machine = self._host(host)
        user = f"root@{machine['address']}"
        return self.in_control("ssh", *ssh_options(self.places), user, *argv)

    def console_command(self, host: str, *argv: str) -> list[str]:
        """Return a command that runs `argv` at a host's console: it works without any network."""
        leader = self._host(host)["leader"]
        if not leader:
            raise LabError(f"{host} is without power; type: {self.places.command} power-on {host}")
        return console.command(leader, *argv)

    def ansible_command(self, *words: str, program: str = "ansible-playbook") -> list[str]:
        """Return a command that runs Ansible at the control node with this lab's inventory, key and known hosts.

        Connections that stay open and facts that are remembered are this lab's own: other labs have the same addresses.
        """
        folder = self.places.folder
        own = {
            "ANSIBLE_CONFIG": ROOT / "ansible.cfg",
            "ANSIBLE_INVENTORY": self.places.inventory,
            "ANSIBLE_PRIVATE_KEY_FILE": self.places.key,
            "ANSIBLE_SSH_COMMON_ARGS": " ".join(
                f"-o{name}={value}" for name, value in ssh_settings(self.places).items()
            ),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": folder / "connections",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": folder / "facts",
            "ANSIBLE_LOCAL_TEMP": folder / "ansible",
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        }
        if program == "ansible-playbook":
            words = (*words, "-e", f"acceptance_folder={folder / 'acceptance'}")
        password = self.places.inventory / ".vault-password"
        if password.exists():
            own["ANSIBLE_VAULT_PASSWORD_FILE"] = password
        return self.in_control("env", *(f"{name}={value}" for name, value in own.items()), program, *words)

    def ssh(self, host: str, *argv: str, check: bool = True) -> str:
        """Run a command at a host over the network and return its output."""
        return _output(self.ssh_command(host, *argv), f"{host}: {' '.join(argv)}", check=check)

    def run(self, host: str, *argv: str, check: bool = True) -> str:
        """Run a command at a host's console and return its output."""
        return _output(self.console_command(host, *argv), f"{host}: {' '.join(argv)}", check=check)

    def control(self, *argv: str, check: bool = True) -> str:
        """Run a command at the control node and return its output."""
        return _output(self.in_control(*argv), f"control node: {' '.join(argv)}", check=check)

    def _host(self, name: str) -> dict[str, Any]:
        hosts = self.ask("status")["hosts"]
        if name not in hosts:
            raise LabError(f"there is no host {name!r}; there are: {', '.join(hosts)}")
        return dict(hosts[name])


def _output(command: list[str], called: str, *, check: bool) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if check and done.returncode:
        raise LabError(f"{called}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout
