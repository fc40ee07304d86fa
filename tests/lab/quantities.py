"""Quantities as people type them: `100ms`, `5%`, `20mbit`. Each becomes a number in its base unit."""

from __future__ import annotations

import argparse
import re

_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_BITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ%]*)", re.IGNORECASE)


def duration(text: str) -> float:
    """Read a duration in seconds: `100ms`, `0.1s`."""
    return _read(text, _SECONDS, "a duration such as 100ms or 1.5s")


def ratio(text: str) -> float:
    """Read a share, 0 to 1: `5%` or `0.05`."""
    found = _read(text, {"%": 0.01, "": 1.0}, "a share such as 5% or 0.05")
    if found > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0% and 100%")
    return found


def rate(text: str) -> float:
    """Read a rate in bits a second: `20mbit`, `512kbit`."""
    found = _read(text, _BITS, "a rate such as 20mbit or 512kbit")
    if found <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: use cut to let nothing pass")
    return found


def packet_bytes(text: str) -> int:
    """Read the length of an IP packet in bytes."""
    if not text.isdecimal() or not 68 <= int(text) <= 9000:
        raise argparse.ArgumentTypeError(f"{text!r} is no MTU: bytes, from 68 to 9000")
    return int(text)


def _read(text: str, units: dict[str, float], example: str) -> float:
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2].lower() not in units:
        raise argparse.ArgumentTypeError(f"{text!r} is not {example}")
    return float(found[1]) * units[found[2].lower()]
