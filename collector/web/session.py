"""Signing in and out: a token given once, a cookie after that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from collector.web.access import COOKIE
from collector.web.problems import Json, Problem

if TYPE_CHECKING:
    from collector.tokens import Tokens
    from collector.web.access import Access


class SignIn(BaseModel):
    """The token a person signs in with."""

    token: str = Field(max_length=200)


def session_routes(access: Access, tokens: Tokens) -> APIRouter:
    """Return the routes by which a person signs in and out."""
    router = APIRouter()

    @router.get("/api/v1/me", tags=["session"], summary="Who is asking, and what they may do")
    async def me(request: Request) -> Json:
        token = access.require(request, "viewer")
        return Json({"role": token.role, "signed_in": COOKIE in request.cookies})

    @router.post("/session", tags=["session"], status_code=204, summary="Sign in with a token")
    def sign_in(request: Request, body: SignIn) -> Response:
        token = tokens.find(body.token.strip())
        if token is None or not token.may("viewer"):
            raise Problem(
                401, "this token is unknown, or does not let anybody read; 'nhip token new --role viewer' makes one"
            )
        answer = Response(status_code=204)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, tokens.sign_in(token), max_age=43_200, httponly=True, samesite="strict", secure=secure
        )
        return answer

    @router.delete("/session", tags=["session"], status_code=204, summary="Sign out")
    def sign_out(request: Request) -> Response:
        secret = request.cookies.get(COOKIE)
        if secret:
            access.of(request)
            tokens.sign_out(secret)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    return router
