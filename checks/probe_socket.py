"""What every socket that sends probes does alike: hear refusals, aim at one address, say why it cannot send."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NoReturn

from checks.check import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ECONNREFUSED}

_HEAR_REFUSALS: Mapping[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),  # IP_RECVERR
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
RECVERR = set(_HEAR_REFUSALS.values())
"""Level and kind of what an error queue says of a refused packet."""


def make_ready(sock: socket.socket) -> None:
    """Let a socket never block, and hear what routers and hosts say of its packets."""
    sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
    sock.setsockopt(*_HEAR_REFUSALS[sock.family], 1)


def bind_to(sock: socket.socket, source: str, port: int = 0) -> None:
    """Send from a local address; `CheckError` where this machine has no such one, `OSError` where the port is taken."""
    try:
        sock.bind((source, port))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise
        words = exc.strerror or "not an address of the target's family"
        raise CheckError(f"cannot send from source {source}: {words}") from None


def aim(sock: socket.socket, where: tuple[object, ...], what: str) -> None:
    """Connect, so that only this address is sent to and heard. `OSError` is no route, `CheckError` says what else."""
    try:
        sock.connect(where)
    except PermissionError:
        raise CheckError("this machine refuses to send there: a broadcast address, or a prohibited route") from None
    except OSError as exc:
        if exc.errno not in NO_ROUTE:
            raise CheckError(f"cannot send {what} there: {exc.strerror}") from None
        raise


def send(sock: socket.socket, packet: bytes, what: str) -> None:
    """Send a packet. `OSError` where there is no route or no room, `CheckError` where this machine does not let us."""
    try:
        _send(sock, packet)
    except BlockingIOError:
        raise OSError(errno.ENOBUFS, "the send buffer is full") from None
    except OSError as exc:
        refuse_to_send(exc, what)


def refuse_to_send(exc: OSError, what: str) -> NoReturn:
    """Tell no route or no room (`OSError`) from what this machine forbids or cannot do (`CheckError`)."""
    if isinstance(exc, PermissionError):
        raise CheckError(f"this machine's own firewall does not let {what} out") from None
    if exc.errno not in NO_ROUTE and exc.errno != errno.ENOBUFS:
        raise CheckError(f"cannot send {what}: {exc.strerror}") from None
    raise exc


def _send(sock: socket.socket, packet: bytes) -> None:
    try:
        sock.send(packet)
    except BlockingIOError:
        raise
    except OSError:  # it may be the refusal of an earlier packet, told now that we call: that clears it
        sock.send(packet)
