"""Problems as InfluxDB's clients know them: `{"code", "message"}`, and `line` where a line is at fault."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)

_CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    409: "conflict",
    413: "request too large",
    415: "invalid",
    429: "too many requests",
    503: "unavailable",
}


_UNAUTHORIZED = 401


class Json(Response):
    """An answer in JSON, written by the quickest writer there is."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return `content` as bytes."""
        return orjson.dumps(content)


class Problem(Exception):  # noqa: N818  (an answer, not a fault of ours)
    """An answer that is not the one asked for: HTTP status, and words that say what would be right."""

    def __init__(self, status: int, message: str, *, line: int | None = None, retry_after: int | None = None) -> None:
        """Keep the parts of the answer. `retry_after` is in seconds."""
        super().__init__(message)
        self.status = status
        self.line = line
        self.retry_after = retry_after

    def response(self) -> Json:
        """Return the answer."""
        content: dict[str, object] = {"code": _CODES.get(self.status, "internal error"), "message": str(self)}
        if self.line is not None:
            content["line"] = self.line
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        if self.status == _UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Token"
        return Json(content, self.status, headers)


def install(app: FastAPI) -> None:
    """Make every problem of `app` speak this one way."""

    async def problem(request: Request, exc: Exception) -> Json:
        if isinstance(exc, Problem):
            return exc.response()
        if isinstance(exc, RequestValidationError):
            words = "; ".join(f"{error['loc'][-1]}: {error['msg'].lower()}" for error in exc.errors())
            return Problem(400, words).response()
        if isinstance(exc, HTTPException):
            return Problem(exc.status_code, str(exc.detail).lower()).response()
        log.error("a request failed: %s %s", request.method, request.url.path, exc_info=exc)
        return Problem(500, "the collector failed here; its log says more").response()

    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, problem)
