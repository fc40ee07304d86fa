"""Follow the redirects of HTTP, for checks that look at what people get in the end."""

from __future__ import annotations

import dataclasses
import urllib.parse
from typing import TYPE_CHECKING

from checks.http_exchange import Url, exchange

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from checks.http_exchange import Options, Response
    from checks.phases import Phases

_REDIRECTS = {301, 302, 303, 307, 308}


async def follow(
    phases: Phases,
    url: Url,
    headers: Mapping[str, str],
    options: Options,
    most: int,
    final: Container[int] = (),
) -> Response:
    """GET `url` and return the last response, after `most` redirects at the most; the phases add up over all of them.

    Where `most` is 0, or the status is one of `final`, a redirect is itself the answer that is wanted.
    """
    origin = url.origin
    phases.metrics["redirects"] = 0.0
    while True:
        response = await exchange(phases, url, headers, options)
        where = response.headers.get(b"location")
        if response.status not in _REDIRECTS or where is None or most == 0 or response.status in final:
            return response
        url = _next(phases, url, where.decode(errors="replace"))
        if phases.metrics["redirects"] == most:
            phases.fail(f"more than {most} redirects, the last one to {url.text}")
        phases.metrics["redirects"] += 1
        if url.origin != origin:  # what is meant for one server, secrets above all, is not for another
            headers, options = {}, dataclasses.replace(options, server_name=None)


def _next(phases: Phases, url: Url, location: str) -> Url:
    try:
        return Url.parse(urllib.parse.urljoin(url.text, location))
    except ValueError as exc:
        phases.fail(f"redirected to an address that {exc}")
