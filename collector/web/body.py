"""A request's body, never more of it in memory than is allowed, compressed or not."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from collector.web.problems import Problem

if TYPE_CHECKING:
    from fastapi import Request

_GZIP = 31


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, unpacked. `Problem` 413 as soon as it is known to pass `limit` bytes, 400 for broken gzip."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity", ""):
        raise Problem(415, f"Content-Encoding {encoding!r} is not understood: send gzip or nothing")
    unpack = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    parts, size = [], 0
    async for chunk in request.stream():
        part = chunk
        if unpack is not None:
            part = _unpack(unpack, chunk, limit - size + 1)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    if unpack is not None and not unpack.eof:
        raise Problem(400, "the gzip data ends too early")
    return b"".join(parts)


def _unpack(unpack: zlib._Decompress, chunk: bytes, most: int) -> bytes:
    try:
        return unpack.decompress(chunk, most)
    except zlib.error as exc:
        raise Problem(400, f"the body says it is gzip, and is not: {exc}") from None


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes: send it in parts")
