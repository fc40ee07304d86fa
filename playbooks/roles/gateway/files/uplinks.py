#!/usr/bin/python3
"""Keep the default route on an uplink that reaches the data centre: probe each of them, fail over, fail back.

`nhip-uplinks run` is the service; `nhip-uplinks status` says how the uplinks stand, as a Nagios plug-in does.
Both read one JSON file, written by the role. Only the standard library: a gateway has nothing else before its agent.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIG = Path("/etc/nhip-gateway/uplinks.json")
STATE = Path("/run/nhip-uplinks/state.json")
_ROUTES = Path("/proc/net/route")
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_SOL_RAW, _ICMP_FILTER = 255, 1  # which types the kernel keeps from us
_STALE_ROUNDS = 10
_OK, _WARNING, _CRITICAL, _UNKNOWN = range(4)


@dataclasses.dataclass(frozen=True)
class Rule:
    """When an uplink counts as down, and when as up again: k of the last n rounds, apart so that it cannot flap."""

    fall_lost: int
    fall_of: int
    rise_answered: int
    rise_of: int


@dataclasses.dataclass(frozen=True)
class Uplink:
    """A way to the data centre: the interface, our address on it, and the router at its far end."""

    interface: str
    address: str
    via: str


@dataclasses.dataclass(frozen=True)
class Line:
    """What is known of one uplink: whether it counts as up, and its rounds since that last changed, latest last."""

    interface: str
    up: bool = True
    rounds: tuple[bool, ...] = ()


@dataclasses.dataclass(frozen=True)
class State:
    """All uplinks in order of preference, and the one that carries the default route."""

    lines: tuple[Line, ...]
    active: str
    switches: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
    """The JSON file."""

    probes: tuple[str, ...]
    interval_seconds: float
    timeout_seconds: float
    metric: int
    rule: Rule
    uplinks: tuple[Uplink, ...]


def judge(line: Line, answered: bool | None, rule: Rule) -> Line:  # noqa: FBT001  (a fact, not an option)
    """Add one round to what is known of an uplink; `None` says its cable is out, which needs no second opinion."""
    if answered is None:
        return Line(line.interface, up=False)
    rounds = (*line.rounds, answered)[-max(rule.fall_of, rule.rise_of) :]
    if line.up and rounds[-rule.fall_of :].count(False) >= rule.fall_lost:
        return Line(line.interface, up=False)
    if not line.up and len(rounds) >= rule.rise_of and rounds[-rule.rise_of :].count(True) >= rule.rise_answered:
        return Line(line.interface, up=True)
    return Line(line.interface, line.up, rounds)


def step(state: State, answers: Mapping[str, bool | None], rule: Rule) -> State:
    """Judge a round of all uplinks and choose: the first that is up, or, when none is, the one that is in use."""
    lines = tuple(judge(line, answers[line.interface], rule) for line in state.lines)
    active = next((line.interface for line in lines if line.up), state.active)
    return State(lines, active, state.switches + (active != state.active))


def changes(before: State, after: State) -> list[str]:
    """Say what changed between two states, a sentence each; nothing when nothing did."""
    said = []
    for old, new in zip(before.lines, after.lines, strict=True):
        if old.up != new.up:
            said.append(f"{new.interface} reaches the data centre {'again' if new.up else 'no more'}")
    if any(line.up for line in before.lines) and not any(line.up for line in after.lines):
        said.append(f"no uplink reaches the data centre: the default route stays on {after.active}")
    if before.active != after.active:
        said.append(f"the default route moves from {before.active} to {after.active}")
    return said


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


def echo_request(identifier: int, sequence: int) -> bytes:
    """Return an ICMP echo request (RFC 792)."""
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum(head), identifier, sequence)


def is_reply(packet: bytes, identifier: int, sequence: int) -> bool:
    """Tell whether a packet with its IPv4 header is the answer to that request."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < header + 8:
        return False
    kind, _, _, *mine = struct.unpack("!BBHHH", packet[header : header + 8])
    return kind == _ECHO_REPLY and mine == [identifier, sequence]


def load(path: Path) -> Config:
    """Read the JSON file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    uplinks = tuple(Uplink(**uplink) for uplink in data.pop("uplinks"))
    return Config(rule=Rule(**data.pop("rule")), uplinks=uplinks, probes=tuple(data.pop("probes")), **data)


class Prober:
    """Asks the data centre through each uplink whether it is there."""

    def __init__(self, config: Config) -> None:
        """Keep what to ask; sockets are opened anew each round, since interfaces come and go."""
        self._config, self._identifier, self._sequence = config, os.getpid() & 0xFFFF, 0

    def round(self) -> dict[str, bool | None]:
        """Probe every uplink once, all at the same time: whether any target answered, `None` without a cable."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        answers: dict[str, bool | None] = {}
        waiting: dict[socket.socket, str] = {}
        with contextlib.ExitStack() as stack:
            for uplink in self._config.uplinks:
                answers[uplink.interface] = False if _has_carrier(uplink.interface) else None
                sock = self._asked(uplink) if answers[uplink.interface] is False else None
                if sock is not None:
                    waiting[stack.enter_context(sock)] = uplink.interface
            deadline = time.monotonic() + self._config.timeout_seconds
            while waiting and (left := deadline - time.monotonic()) > 0:
                for sock in select.select(list(waiting), [], [], left)[0]:
                    if self._is_answered(sock):
                        answers[waiting.pop(sock)] = True
        return answers

    def _asked(self, uplink: Uplink) -> socket.socket | None:
        """Send a request to each target through one uplink; `None` when the machine itself cannot."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        request, sent = echo_request(self._identifier, self._sequence), False
        with contextlib.suppress(OSError):  # no address yet, interface gone: not reached by this way
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, uplink.interface.encode())
            sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF ^ 1 << _ECHO_REPLY))
            sock.bind((uplink.address, 0))
            for target in self._config.probes:
                with contextlib.suppress(OSError):  # no route to this one; another may answer
                    sent = sock.sendto(request, (target, 0)) > 0 or sent
        if not sent:
            sock.close()
            return None
        return sock

    def _is_answered(self, sock: socket.socket) -> bool:
        with contextlib.suppress(OSError):
            packet, (source, _) = sock.recvfrom(256)
            return source in self._config.probes and is_reply(packet, self._identifier, self._sequence)
        return False


def _has_carrier(interface: str) -> bool:
    try:
        return Path(f"/sys/class/net/{interface}/carrier").read_bytes().strip() == b"1"
    except OSError:  # the interface is gone, or it is administratively down
        return False


def is_routed(table: str, uplink: Uplink, metric: int) -> bool:
    """Tell from the text of /proc/net/route whether the default route with that metric goes by that uplink."""
    via = int.from_bytes(socket.inet_aton(uplink.via), sys.byteorder)  # as the kernel prints it
    wanted = [uplink.interface, "00000000", f"{via:08X}"]
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[:3] == wanted and fields[6:8] == [str(metric), "00000000"]:
            return True
    return False


def _route(config: Config, state: State) -> str:
    """Put the default route where the state says, unless it is there; return what went wrong, or nothing."""
    uplink = next(uplink for uplink in config.uplinks if uplink.interface == state.active)
    if is_routed(_ROUTES.read_text(encoding="ascii"), uplink, config.metric):
        return ""
    way = f"via {uplink.via} dev {uplink.interface} src {uplink.address} metric {config.metric}"
    words = ["ip", "-4", "route", "replace", "default", "proto", "static", *way.split()]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=5)
    return done.stderr.strip()


def resumed(config: Config, table: str) -> State:
    """Go on from the route that is there, so that a restart moves nothing: what would come before it is down."""
    names = [uplink.interface for uplink in config.uplinks]
    routed = [is_routed(table, uplink, config.metric) for uplink in config.uplinks]
    place = routed.index(True) if True in routed else 0
    return State(tuple(Line(name, up=number >= place) for number, name in enumerate(names)), names[place])


def recalled(text: str) -> tuple[State, float]:
    """Read what `_remember` wrote: the state, and when its last round was (seconds since 1970)."""
    data = json.loads(text)
    lines = tuple(Line(interface, up=line["up"]) for interface, line in data["uplinks"].items())
    return State(lines, data["active"], data["switches"]), data["measured_at"]


def _remember(state: State, at: float, path: Path) -> None:
    lines = {line.interface: {"up": line.up} for line in state.lines}
    data = {"active": state.active, "switches": state.switches, "measured_at": at, "uplinks": lines}
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(data), encoding="utf-8")
    draft.replace(path)


def _notify(words: str) -> None:
    """Tell systemd, when it is there."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(words.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def run(config: Config, path: Path) -> None:
    """Probe and choose, on a steady beat, until the process is ended; the route stays as it is then."""
    prober, state, failure = Prober(config), resumed(config, _ROUTES.read_text(encoding="ascii")), ""
    print(f"the default route is on {state.active}; probing {', '.join(config.probes)}", flush=True)
    beat = time.monotonic()
    while True:
        after = step(state, prober.round(), config.rule)
        for words in changes(state, after):
            print(words, flush=True)
        state, before = after, failure
        failure = _route(config, state)
        if failure and failure != before:
            print(f"the default route cannot be set on {state.active}: {failure}", flush=True)
        _remember(state, time.time(), path)
        _notify(f"READY=1\nWATCHDOG=1\nSTATUS={_words(state)}")
        beat = max(beat + config.interval_seconds, now := time.monotonic())
        time.sleep(beat - now)


def _words(state: State) -> str:
    others = [f"{line.interface} {'is up' if line.up else 'is down'}" for line in state.lines]
    return f"{state.active} carries the default route; {', '.join(others)}"


def status(config: Config, path: Path, now: float) -> tuple[int, str]:
    """Return exit code and line of a Nagios plug-in: OK on the first uplink, WARNING on another, CRITICAL on none."""
    try:
        state, measured_at = recalled(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError):
        return _UNKNOWN, f"UPLINKS UNKNOWN: {path} cannot be read; is nhip-uplinks.service running?"
    if now - measured_at > _STALE_ROUNDS * (config.interval_seconds + config.timeout_seconds):
        return _CRITICAL, f"UPLINKS CRITICAL: nhip-uplinks.service has said nothing for {now - measured_at:.0f} s"
    names, up = [line.interface for line in state.lines], [line.up for line in state.lines]
    code = _OK if all(up) else _WARNING if any(up) else _CRITICAL
    figures = " ".join(f"{line.interface}={line.up:d}" for line in state.lines)
    measured = f"active={names.index(state.active)} switches={state.switches}c {figures}"
    return code, f"UPLINKS {('OK', 'WARNING', 'CRITICAL')[code]}: {_words(state)} | {measured}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="nhip-uplinks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["run", "status"])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--state", type=Path, default=STATE)
    options = parser.parse_args(argv)
    config = load(options.config)
    if options.command == "run":
        run(config, options.state)
    code, line = status(config, options.state, time.time())
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
