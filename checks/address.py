"""From what people write (`portal.example:443`, `[fd00::1]:53`, `10.0.0.1`) to addresses that a socket takes."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Literal

from checks.check import CheckError

IpVersion = Literal[4, 6]
Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]

_FAMILIES: dict[IpVersion | None, socket.AddressFamily] = {
    None: socket.AF_UNSPEC,
    4: socket.AF_INET,
    6: socket.AF_INET6,
}
_Lookup = tuple[asyncio.AbstractEventLoop, str, int, socket.AddressFamily]
_waiting: dict[_Lookup, asyncio.Future[list[Address]]] = {}


class UnresolvedError(Exception):
    """A name that could not be turned into an address: `str` says why, in words."""


def split_host_port(target: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`; `CheckError` shows how it should look."""
    host, colon, port = target.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "[" in host:
        host = ""
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise CheckError(f"target {target!r} is not host:port; write 10.0.0.1:443 or [fd00::1]:443")
    return host, int(port)


def split_host_default_port(target: str, default: int) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]:port` or a bare IPv6 address; without a port it is `default`."""
    if (target.startswith("[") and not target.endswith("]")) or target.count(":") == 1:
        return split_host_port(target)
    return split_host(target), default


def split_host(target: str) -> str:
    """Return a bare host, without the brackets of an IPv6 literal; `CheckError` for anything with a port or path."""
    host = target[1:-1] if target.startswith("[") and target.endswith("]") else target
    if not host or any(char in host for char in "/[] \t") or host.count(":") == 1:
        raise CheckError(f"target {target!r} is not a host; write a name or an address, without port or path")
    return host


async def resolve(host: str, port: int, ip_version: IpVersion | None = None) -> list[Address]:
    """Return the addresses of `host`, in the system's order of preference. A literal needs no resolver.

    Raises `UnresolvedError` when there are none. Cancelling leaves the system's resolver to end by itself: a thread
    that nobody waits for, and one at most for the same question.
    """
    if known := literal(host, port, ip_version):
        return known
    loop = asyncio.get_running_loop()
    key = (loop, host, port, _FAMILIES[ip_version])
    if key not in _waiting:
        _waiting[key] = loop.create_future()
        threading.Thread(target=_resolver, args=(key,), name=f"resolve {host}", daemon=True).start()
    try:
        return await asyncio.shield(_waiting[key])
    except socket.gaierror as exc:
        raise UnresolvedError(_words(host, exc, ip_version)) from None
    except UnicodeError:
        raise UnresolvedError(f"{host!r} is not a name that DNS can hold") from None


async def host_address(target: str, ip_version: IpVersion | None, seconds: float) -> Address:
    """Return the first address of the bare host `target`, for checks that send packets to it and to no port.

    Raises `CheckError` where it has none, or where the resolver does not say within `seconds`.
    """
    host = split_host(target)
    try:
        if known := literal(host, 0, ip_version):
            return known[0]
        async with asyncio.timeout(seconds):
            return (await resolve(host, 0, ip_version))[0]
    except UnresolvedError as exc:
        raise CheckError(f"no packet was sent: {exc}") from None
    except TimeoutError:
        raise CheckError(f"no packet was sent: the resolver of this node does not answer for {host}") from None


def _lookup(host: str, port: int, family: socket.AddressFamily, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [(each[0], each[4]) for each in found]  # type: ignore[misc]  # the third kind is for no family of ours


def literal(host: str, port: int = 0, ip_version: IpVersion | None = None) -> list[Address]:
    """Return the address that `host` spells, or nothing when it is a name. Asks nobody, and waits for nobody.

    Raises `UnresolvedError` when it spells an address of the other version.
    """
    try:
        known = _numeric(host, port)
    except (socket.gaierror, UnicodeError):
        return []
    if ip_version and known[0][0] != _FAMILIES[ip_version]:
        raise UnresolvedError(f"{host} is not an IPv{ip_version} address")
    return known


def _numeric(host: str, port: int) -> list[Address]:
    try:
        socket.inet_pton(socket.AF_INET, host)  # most targets are this, and it costs a tenth of what follows
    except (OSError, ValueError):
        return _lookup(host, port, socket.AF_UNSPEC, socket.AI_NUMERICHOST)
    return [(socket.AF_INET, (host, port))]


def _resolver(key: _Lookup) -> None:
    """Ask the system's resolver, which blocks, and hand the answer to the loop that waits for it."""
    loop, host, port, family = key
    answer: list[Address] | Exception
    try:
        answer = _lookup(host, port, family)
    except (OSError, UnicodeError) as exc:
        answer = exc
    try:
        loop.call_soon_threadsafe(_hand_over, key, answer)
    except RuntimeError:  # the loop has ended meanwhile, and with it everybody who waited
        _waiting.pop(key, None)


def _hand_over(key: _Lookup, answer: list[Address] | Exception) -> None:
    future = _waiting.pop(key)
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # whoever asked may have given up: that is no fault of theirs
    else:
        future.set_result(answer)


def _words(host: str, exc: socket.gaierror, ip_version: IpVersion | None) -> str:
    if exc.errno in (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
        kind = f"IPv{ip_version} address" if ip_version else "address"
        return f"the name {host} has no {kind}"
    if exc.errno == socket.EAI_AGAIN:
        return f"the resolver of this node does not answer for {host}"
    return f"the name {host} cannot be resolved: {exc.strerror}"
