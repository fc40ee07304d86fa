"""Let the kernel drop what a socket need not hear: classic BPF programs, run before a packet is copied to us."""

from __future__ import annotations

import array
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

LOAD_BYTE, LOAD_HALF, LOAD_HALF_X = 0x30, 0x28, 0x48
HEADER_LENGTH_TO_X = 0xB1
EQUAL, RETURN = 0x15, 0x06

_SOL_SOCKET, _SO_ATTACH_FILTER = 1, 26
_STEP = struct.Struct("=HBBI")

Step = tuple[int, int, int, int]
"""Operation; how many steps to skip if equal, and if not; operand."""


def attach(sock: socket.socket, program: Sequence[Step]) -> None:
    """Filter what `sock` receives from now on; returning 0 from the program drops a packet."""
    code = array.array("B", b"".join(_STEP.pack(*step) for step in program))
    sock.setsockopt(_SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), code.buffer_info()[0]))
