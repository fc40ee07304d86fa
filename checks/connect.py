"""Open a TCP connection in measured steps: the name, then the connection. For every check that speaks over TCP."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from checks.address import UnresolvedError, literal, resolve
from checks.check import CheckError, Unreachable

if TYPE_CHECKING:
    from checks.address import Address, IpVersion
    from checks.phases import Phases

_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "the connection timed out",
}


async def connect(phases: Phases, host: str, port: int, ip_version: IpVersion | None = None) -> socket.socket:
    """Return a connected socket; add `dns_seconds` (for a name) and `connect_seconds` to the phases.

    Every address of a name is tried in turn, each with its share of what is left of the budget; the time is that of the
    attempt that succeeded. Raises `Unreachable` with the last attempt's reason.
    """
    addresses = await _addresses(phases, host, port, ip_version)
    for remaining in range(len(addresses), 0, -1):
        address = addresses[-remaining]
        try:
            return await _attempt(phases, address, f"{host}:{port}", phases.left_seconds / remaining)
        except Unreachable:
            if remaining == 1:
                raise
    raise AssertionError("resolve returns at least one address")


async def _addresses(phases: Phases, host: str, port: int, ip_version: IpVersion | None) -> list[Address]:
    try:
        if known := literal(host, port, ip_version):
            return known
        async with phases.phase("dns_seconds", f"no answer from this node's resolver for {host}"):
            return await resolve(host, port, ip_version)
    except UnresolvedError as exc:
        phases.fail(str(exc))


async def _attempt(phases: Phases, address: Address, target: str, seconds: float) -> socket.socket:
    family, where = address
    sock = _open(family)
    try:
        async with phases.phase("connect_seconds", f"no connection to {_shown(where, target)}", seconds):
            await asyncio.get_running_loop().sock_connect(sock, where)
    except OSError as exc:
        sock.close()
        if exc.errno in _OURS:
            raise CheckError(f"cannot connect from this machine: {exc.strerror}") from None
        phases.fail(words(exc))
    except BaseException:
        sock.close()
        raise
    return sock


def _open(family: socket.AddressFamily) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise CheckError(f"cannot open a socket: {exc.strerror}") from None
    sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def words(exc: OSError) -> str:
    """Say an error of a connection in plain words."""
    return _WORDS.get(exc.errno or 0) or (exc.strerror or str(exc) or type(exc).__name__).lower()


def _shown(where: tuple[object, ...], target: str) -> str:
    """Name the address that did not answer; a name alone would not tell which of its addresses it was."""
    return target if target.startswith(str(where[0])) else f"{target} ({where[0]})"
