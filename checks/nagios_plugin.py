"""Nagios plugin: run any existing plugin, and take its verdict, its words and its performance data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from checks.check import CheckError, Noted, Unreachable
from checks.lines import shown
from checks.perfdata import Output
from checks.phases import Phases
from checks.secret import hide, read_environment

_FOLDERS = ("/usr/lib/nagios/plugins", "/usr/lib64/nagios/plugins", "/usr/local/nagios/libexec")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_MOST_OUTPUT_BYTES = 65_536
_SHORTEST_SECRET = 6  # hiding every "1" of an output would hide more than the secret
_STRAGGLER_SECONDS = 0.5
_OK, _WARNING, _CRITICAL, _UNKNOWN = range(4)


class NagiosPlugin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of running one plugin."""

    name: ClassVar[str] = "nagios_plugin"
    summary: ClassVar[str] = "runs a plugin made for Nagios or Icinga: its verdict, its words, its performance data"
    target_help: ClassVar[str] = "the plugin and its arguments: check_tcp -H 10.92.0.1 -p 80"
    metrics: ClassVar[Mapping[str, str]] = {
        "state": "what the plugin says: 0 OK, 1 WARNING, 2 CRITICAL",
        "value[label]": "a value of its performance data without a unit, or with one that has no base unit here",
        "value_seconds[label]": "a time of its performance data, seconds",
        "value_ratio[label]": "a percentage of its performance data, 0 to 1",
        "value_bytes[label]": "a size of its performance data, bytes",
        "value_total[label]": "a counter of its performance data, count",
        "value_celsius[label]": "a temperature of its performance data, degrees Celsius",
        "value_volts[label]": "a voltage of its performance data, volts",
        "value_watts[label]": "a power of its performance data, watts",
        "value_hertz[label]": "a frequency of its performance data, hertz",
    }
    unreachable: ClassVar[Mapping[str, float]] = {}

    folders: Annotated[tuple[str, ...], msgspec.Meta(description="where plugins without a path are looked for")] = (
        _FOLDERS
    )
    environment_file: Annotated[
        str | None, msgspec.Meta(description="file of lines NAME=value for the plugin, secrets above all")
    ] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=600, description="after this the plugin is killed")] = 30.0

    def __post_init__(self) -> None:
        """Refuse folders that depend on where the agent was started."""
        for folder in self.folders:
            if not folder.startswith("/"):
                raise ValueError(f"folders: {folder!r} is not an absolute path")

    async def measure(self, target: str) -> dict[str, float]:
        """Run the plugin `target`. WARNING has its words as a note, CRITICAL is `Unreachable` with them.

        So WARNING is yellow and CRITICAL red by the limits on `state`, people read what the plugin said, and UNKNOWN
        is what it is with every check: we could not measure.
        """
        argv = self._argv(target)
        secrets = read_environment(self.environment_file)
        phases = Phases(self.timeout_seconds)
        code, printed = await _run(argv, _ENVIRONMENT | secrets, phases.left_seconds, self.timeout_seconds)
        text = hide(printed, *(each for each in secrets.values() if len(each) >= _SHORTEST_SECRET))
        output = Output.parse(text)
        words = shown(output.words) or "(no words)"
        if code not in (_OK, _WARNING, _CRITICAL):
            raise CheckError(f"{Path(argv[0]).name} {_ending(code)}: {words}")
        metrics = {"state": float(code), **output.metrics()}
        if code == _CRITICAL:
            raise Unreachable(words, metrics)
        return Noted(metrics, [words] if code == _WARNING else [])

    def _argv(self, target: str) -> list[str]:
        """Split a command line as a shell would, but give it to none: no variables, no pipes, no globs."""
        try:
            argv = shlex.split(target)
        except ValueError as exc:
            raise CheckError(f"target {target!r} cannot be split into arguments: {str(exc).lower()}") from None
        if not argv:
            raise CheckError("target is empty; write check_tcp -H 10.92.0.1 -p 80")
        program = argv[0]
        if "/" in program and not program.startswith("/"):
            raise CheckError(f"the plugin {program!r} is neither an absolute path nor a name alone")
        places = [Path(program)] if program.startswith("/") else [Path(folder, program) for folder in self.folders]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            where = "" if program.startswith("/") else f" in {', '.join(self.folders)}"
            raise CheckError(f"the plugin {program} is not there{where}; Debian has monitoring-plugins-basic")
        if not os.access(found, os.X_OK):
            raise CheckError(f"the plugin {found} may not be executed by this user")
        return [str(found), *argv[1:]]


class _Listener(asyncio.SubprocessProtocol):
    """Collects what a plugin prints, up to a bound, and tells when it has ended and when nothing more can come."""

    def __init__(self) -> None:
        self.printed = {1: bytearray(), 2: bytearray()}
        self.exited, self.closed, self.overflowed = asyncio.Event(), asyncio.Event(), False

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = _MOST_OUTPUT_BYTES - len(self.printed[fd])
        self.printed[fd] += data[:room]
        if len(data) > room:
            self.overflowed = True
            self.exited.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set()


async def _run(argv: Sequence[str], environment: Mapping[str, str], left: float, stated: float) -> tuple[int, str]:
    """Run a program in a process group of its own; return its exit code and what it printed.

    Whatever it started dies with it, whether it ends, takes too long, prints too much or is cancelled.
    """
    loop = asyncio.get_running_loop()
    options = {"stdin": asyncio.subprocess.DEVNULL, "cwd": "/", "env": dict(environment), "start_new_session": True}
    name = Path(argv[0]).name
    try:
        transport, listener = await loop.subprocess_exec(_Listener, *argv, **options)  # type: ignore[arg-type]  # of each its own
    except OSError as exc:
        raise CheckError(f"{name} cannot be run: {exc.strerror}") from None
    try:
        async with asyncio.timeout(left):
            await listener.exited.wait()
    except TimeoutError:
        raise CheckError(f"{name} did not end within {stated:g} s and was killed") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # who left the group may hold the pipes open: that is not waited for
            async with asyncio.timeout(_STRAGGLER_SECONDS):
                await listener.closed.wait()
        transport.close()
    if listener.overflowed:
        raise CheckError(f"{name} printed more than {_MOST_OUTPUT_BYTES // 1024} KiB and was killed")
    code = transport.get_returncode()
    printed = listener.printed[1] if listener.printed[1].strip() else listener.printed[2]
    return (256 if code is None else code), printed.decode(errors="replace")


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return "says" if code == _UNKNOWN else f"ended with {code}, which is no state"
