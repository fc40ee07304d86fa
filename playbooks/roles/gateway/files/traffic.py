#!/usr/bin/python3
"""Share each uplink so that meetings and the one-stop system win over bulk: classes by HTB, both ways.

`nhip-traffic apply` builds the classes from one JSON file, `clear` takes them away, `status` says what passed in each.
We shape a little below what the line gives, so that the queue forms here, where it is sorted, and not in the
carrier's terminal, where it is not. What comes in is led through an IFB device to be shaped as what goes out is.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CONFIG = Path("/etc/nhip-gateway/traffic.json")
CLASSES = ("meeting", "one_stop", "other", "bulk")  # in order of priority
_DEFAULT = 30
_FRAME_BYTES = 1514
_QUEUE_SECONDS = 0.1  # the longest that a leaf without a queue discipline of its own may hold
_LEAVES = ("fq_codel", "sfq", "pfifo")  # best first
_CODEL_TARGET_SECONDS = 0.005  # RFC 8289; more where one frame takes longer than that
_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x0000002C, 0x0000001F, 0x00000024)  # ETHTOOL_SGRO, _STSO, _SGSO


@dataclasses.dataclass(frozen=True)
class Line:
    """One uplink: its interface and what it may carry each way, in bit/s."""

    interface: str
    upload_bits_per_second: int
    download_bits_per_second: int


@dataclasses.dataclass(frozen=True)
class Config:
    """The JSON file: shares in percent, and what belongs to each class by code point (RFC 2474) and by address."""

    shares: Mapping[str, int]
    dscp: Mapping[str, Sequence[int]]
    addresses: Mapping[str, Sequence[str]]
    uplinks: tuple[Line, ...]


def load(path: Path) -> Config:
    """Read the JSON file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Config(uplinks=tuple(Line(**line) for line in data.pop("uplinks")), **data)


def class_id(name: str) -> str:
    """Return a class' number: 1:10 is meeting, 1:40 is bulk."""
    return f"1:{10 * (CLASSES.index(name) + 1)}"


def leaf(kind: str, rate: int) -> str:
    """Return the queue discipline inside a class of a line of `rate` bit/s, as words of tc."""
    if kind == "fq_codel":
        target = max(_CODEL_TARGET_SECONDS, 1.5 * 8 * _FRAME_BYTES / rate)
        return f"fq_codel target {target * 1e6:.0f}us"
    packets = max(10, round(rate * _QUEUE_SECONDS / 8 / _FRAME_BYTES))
    return f"sfq perturb 10 limit {packets}" if kind == "sfq" else f"pfifo limit {packets}"


def shaper(device: str, rate: int, far: str, config: Config, kind: str) -> Iterator[str]:
    """Give the lines of tc that share `rate` bit/s of a device; `far` says which end is the data centre: src or dst."""
    yield f"qdisc add dev {device} root handle 1: htb default {_DEFAULT}"
    yield f"class add dev {device} parent 1: classid 1:1 htb rate {rate}bit ceil {rate}bit quantum {_FRAME_BYTES}"
    for priority, name in enumerate(CLASSES):
        own, number = rate * config.shares[name] // 100, class_id(name)
        bounds = f"rate {own}bit ceil {rate}bit prio {priority} quantum {_FRAME_BYTES}"
        yield f"class add dev {device} parent 1:1 classid {number} htb {bounds}"
        yield f"qdisc add dev {device} parent {number} handle {number[2:]}: {leaf(kind, rate)}"
    yield from filters(device, far, config)


def filters(device: str, far: str, config: Config) -> Iterator[str]:
    """Give the lines of tc that sort packets: by address first, since a code point is only a wish."""
    head = f"filter add dev {device} parent 1: protocol ip prio"
    for name in CLASSES:
        for address in config.addresses.get(name, ()):
            yield f"{head} 1 u32 match ip {far} {address} flowid {class_id(name)}"
    for name in CLASSES:
        for point in config.dscp.get(name, ()):
            yield f"{head} 2 u32 match ip dsfield {point << 2:#04x} 0xfc flowid {class_id(name)}"


def download_device(position: int) -> str:
    """Return the name of the IFB device through which what comes in by the uplink at that place is led."""
    return f"down{position}"


def redirect(interface: str, device: str) -> Iterator[str]:
    """Give the lines of tc that lead what comes in by an interface through a device."""
    yield f"qdisc add dev {interface} handle ffff: ingress"
    yield (
        f"filter add dev {interface} parent ffff: protocol all u32 match u32 0 0 "
        f"action mirred egress redirect dev {device}"
    )


def _tc(lines: Sequence[str]) -> None:
    """Run lines of tc; `CalledProcessError` has what it said."""
    words = ["tc", "-batch", "-"]
    subprocess.run(words, check=True, input="\n".join(lines) + "\n", text=True, capture_output=True)


def _quietly(*argv: str) -> bool:
    """Run a command that may well fail; tell whether it did not."""
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _best_leaf(device: str) -> str:
    """Return the best queue discipline this kernel has, tried on a device that carries nothing yet."""
    for kind in _LEAVES:
        words = "limit 10" if kind == "pfifo" else ""
        if _quietly("tc", "qdisc", "add", "dev", device, "root", kind, *words.split()):
            _quietly("tc", "qdisc", "del", "dev", device, "root")
            return kind
    raise SystemExit(f"this kernel has none of {', '.join(_LEAVES)}: no classes can be made")


def _send_single_frames(interface: str) -> None:
    """Let the interface glue no frames together: 64 KiB at once would be a queue of its own that none can pass."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = bytearray(struct.pack("II", command, 0))
            request = interface.encode().ljust(16, b"\0")
            with contextlib.suppress(OSError):  # a driver without that offload does not glue
                fcntl.ioctl(sock, _SIOCETHTOOL, _with_pointer(request, value))


def _with_pointer(name: bytes, value: bytearray) -> bytes:
    """Return a `struct ifreq` that points to a value."""
    import ctypes  # noqa: PLC0415  (only this needs it)

    buffer = (ctypes.c_char * len(value)).from_buffer(value)
    return name + struct.pack("P", ctypes.addressof(buffer)).ljust(24, b"\0")


def clear(config: Config) -> None:
    """Take the classes of all uplinks away; a line is then shared by luck, as without us."""
    for position, line in enumerate(config.uplinks):
        _quietly("tc", "qdisc", "del", "dev", line.interface, "root")
        _quietly("tc", "qdisc", "del", "dev", line.interface, "ingress")
        _quietly("ip", "link", "del", download_device(position))


def apply(config: Config, lan: Sequence[str] = ()) -> Iterator[str]:
    """Build the classes of all uplinks anew; say of each what it got."""
    clear(config)
    for interface in (*lan, *(line.interface for line in config.uplinks)):
        _send_single_frames(interface)
    for position, line in enumerate(config.uplinks):
        device, up, down = download_device(position), line.upload_bits_per_second, line.download_bits_per_second
        for words in (f"link add {device} type ifb", f"link set {device} up"):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)  # noqa: S607  (`ip` of this system)
        kind = _best_leaf(device)
        _tc([*shaper(line.interface, up, "dst", config, kind), *shaper(device, down, "src", config, kind)])
        _tc(list(redirect(line.interface, device)))
        yield f"{line.interface}: {up / 1e6:g} Mbit/s up, {down / 1e6:g} Mbit/s down, each class a {kind}"


def status(config: Config) -> Iterator[str]:
    """Say what passed in each class of each uplink, each way, and what was dropped."""
    yield f"{'uplink':<12} {'way':<9} {'class':<9} {'share':>6} {'sent':>14} {'packets':>10} {'dropped':>8}"
    for position, line in enumerate(config.uplinks):
        for way, device in (("upload", line.interface), ("download", download_device(position))):
            for name, counted in _counted(device).items():
                share = f"{config.shares[name]} %"
                yield (
                    f"{line.interface:<12} {way:<9} {name:<9} {share:>6} "
                    f"{counted['bytes']:>14,} {counted['packets']:>10,} {counted['drops']:>8,}"
                )


def _counted(device: str) -> dict[str, dict[str, int]]:
    """Return what the kernel counted for each class of a device; nothing when it has none."""
    words = ["tc", "-statistics", "class", "show", "dev", device]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return counters(done.stdout)


def counters(text: str) -> dict[str, dict[str, int]]:
    """Return bytes, packets and drops of each class in what tc prints; its JSON is none for HTB in Debian 12."""
    found = re.findall(r"^class htb (\S+) .*\n Sent (\d+) bytes (\d+) pkt \(dropped (\d+),", text, re.MULTILINE)
    by_id = {number: dict(zip(("bytes", "packets", "drops"), map(int, rest), strict=True)) for number, *rest in found}
    return {name: by_id[class_id(name)] for name in CLASSES if class_id(name) in by_id}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="nhip-traffic", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["apply", "clear", "status"])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--lan", action="append", default=[], metavar="INTERFACE", help="glues no frames either")
    options = parser.parse_args(argv)
    config = load(options.config)
    try:
        if options.command == "clear":
            clear(config)
        for line in apply(config, options.lan) if options.command == "apply" else ():
            print(line)
        for line in status(config) if options.command == "status" else ():
            print(line)
    except subprocess.CalledProcessError as exc:
        print(f"{' '.join(exc.cmd[:2])} failed: {exc.stderr.strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
