"""One host while the lab runs: booted by systemd-nspawn, on a disk and in a network of its own, or without power."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from tests.lab import groups
from tests.lab.disk import Disk
from tests.lab.made import end_processes, remove_group, remove_space
from tests.lab.network import add_space, plug_in, unplug
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.line import RunningLine
    from tests.lab.made import Made
    from tests.lab.places import Places
    from tests.lab.plan import Host, Port

BOOT_SECONDS = 60
_REBOOT = 133  # what nspawn ends with when its host wants to start again
_MESSAGE_BYTES = 4096
_LAST_LINES = 15


class Machine:
    """A host of the plan."""

    def __init__(self, host: Host, places: Places, made: Made, lines: dict[str, RunningLine]) -> None:
        """Know what it is to be, and the lines that end at it."""
        self.host = host
        self.disk = Disk(places, host.name)
        self.leader = 0
        self.state = "off"
        self.boots = 0
        self._places, self._made = places, made
        self._lines = {port.line: lines[port.line] for port in host.ports if port.line}
        self._groups = groups.paths(places.prefix, host.name)
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def power_on(self) -> None:
        """Boot it; return once its services are up. A machine that is on stays as it is."""
        async with self._turn:
            if self.state == "off":
                await self._boot()
            try:
                await asyncio.wait_for(self._ready.wait(), BOOT_SECONDS)
            except TimeoutError:
                raise LabError(
                    f"{self.host.name} did not boot within {BOOT_SECONDS} s; its console says:\n{self._last_words()}"
                ) from None

    async def power_off(self) -> None:
        """Take its power away, as at any moment of a power cut."""
        async with self._turn:
            await self._stop_watching()
            await self._unplug()

    def as_dict(self) -> dict[str, object]:
        """Return its state, for `lab status`."""
        host = self.host
        where = {"site": host.site, "kind": host.kind, "address": host.address}
        return where | {"state": self.state, "leader": self.leader, "boots": self.boots}

    async def _boot(self) -> None:
        self.state, self.leader = "booting", 0
        self.boots += 1
        self._ready.clear()
        name = self.host.name
        await asyncio.to_thread(self._plug)
        for line in self._lines.values():
            await line.attach("lower")
        notify = self._listen()
        with self._console().open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *groups.bound(self._groups, self._command()),
                stdin=asyncio.subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": notify, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )  # fmt: skip
        self._watch = asyncio.create_task(self._wait(self._process), name=f"watch {name}")

    def _plug(self) -> None:
        groups.make(self._groups)
        add_space(self._places, self.host.name, self._made)
        for port in self._cables():
            plug_in(self._places, self.host.name, port)

    def _cables(self) -> list[Port]:
        return [port for port in self.host.ports if port.switch]

    def _command(self) -> list[str]:
        machine = f"{self._places.prefix}-{self.host.name}"
        self._made.will_be("shared", f"/run/systemd/nspawn/propagate/{machine}")
        return [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.disk.root}",
            f"--machine={machine}", f"--hostname={self.host.name}",
            f"--network-namespace-path=/run/netns/{self._places.space(self.host.name)}",
            "--capability=CAP_NET_ADMIN", "--bind=/dev/net/tun", "--private-users=no", "--register=no", "--keep-unit",
            "--notify-ready=yes", "--console=read-only", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        ]  # fmt: skip

    def _listen(self) -> str:
        path = self._places.folder / f"{self.host.name}.notify"
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(str(path))
        asyncio.get_running_loop().add_reader(sock, self._heard, sock)
        self._notify = sock
        return str(path)

    def _heard(self, sock: socket.socket) -> None:
        """Hear systemd's word (sd_notify) of who its first process is, and that it is up."""
        with contextlib.suppress(OSError):
            for line in sock.recv(_MESSAGE_BYTES).decode(errors="replace").splitlines():
                name, _, value = line.partition("=")
                if name == "X_NSPAWN_LEADER_PID":
                    self.leader = int(value)
                elif line == "READY=1":
                    self.state = "running"
                    self._ready.set()

    def _close_notify(self) -> None:
        asyncio.get_running_loop().remove_reader(self._notify)
        self._notify.close()

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        """See to what the machine does itself: `reboot` and `poweroff`, typed in it."""
        code = await process.wait()
        async with self._turn:
            self._watch = None
            await self._unplug()
            if code == _REBOOT:
                await self._boot()

    async def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None

    async def _unplug(self) -> None:
        if self.state == "off":
            return
        self.state, self.leader = "off", 0
        self._ready.clear()
        await asyncio.to_thread(end_processes, self._groups)
        if self._process is not None:
            await self._process.wait()
        self._close_notify()
        for line in self._lines.values():
            await line.detach("lower")
        # Without power nothing answers, and an address in a namespace that is still there would.
        for port in self._cables():  # gone now, and not when the kernel comes to it
            await asyncio.to_thread(unplug, self._places, self.host.name, port)
        await asyncio.to_thread(remove_space, self._places.space(self.host.name))
        for group in self._groups:
            await asyncio.to_thread(remove_group, group)

    def _last_words(self) -> str:
        return "\n".join(self._console().read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])

    def _console(self) -> Path:
        return self._places.folder / f"{self.host.name}.console"
