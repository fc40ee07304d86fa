"""A TLS handshake that keeps what the server sent, accepted or not: the chain, the version, who issued it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.check import Unreachable
from checks.connect import connect, words
from checks.lines import LineError, Lines
from checks.mail_wire import DialogueError, Imap, Smtp
from checks.phases import Phases
from checks.tls import tls_context, tls_words

if TYPE_CHECKING:
    import socket

    from checks.address import IpVersion


@dataclass(slots=True)
class Handshake:
    """One look at a server's side of TLS.

    `chain` is in DER, as it was sent, the server's own certificate first; `chain_is_whole` is False where this Python
    tells only that one. `issuer` is who issued it, where the chain is trusted. `refused` is why it is not.
    """

    phases: Phases
    host: str
    port: int
    name: str
    starttls: str
    ip_version: IpVersion | None
    chain: list[bytes] = field(default_factory=list)
    chain_is_whole: bool = True
    issuer: bytes | None = None
    version: float | None = None
    refused: ssl.SSLCertVerificationError | None = None

    async def try_both(self, ca_file: str | None) -> None:
        """Shake hands; where the chain is refused, once more without verifying, to see what was refused.

        Names are not verified here: whoever wants to tell a wrong name from a wrong chain needs both. `Unreachable`
        when there is no handshake at all.
        """
        try:
            await self._shake(self.phases, tls_context(True, ca_file, check_name=False))  # noqa: FBT003  (verify)
        except ssl.SSLCertVerificationError as exc:
            self.refused = exc
            try:
                again = await self.without_verifying()
            except Unreachable:
                self.phases.fail(tls_words(exc))
            self.phases.metrics = {**again, **self.phases.metrics}

    async def without_verifying(self) -> dict[str, float]:
        """Shake hands whatever the certificates say; return the times of the phases. `Unreachable` when it fails."""
        phases = Phases(self.phases.left_seconds)
        await self._shake(phases, tls_context(False, None))  # noqa: FBT003  (do not verify)
        return phases.metrics

    async def _shake(self, phases: Phases, context: ssl.SSLContext) -> None:
        sock = await connect(phases, self.host, self.port, self.ip_version)
        with contextlib.closing(sock):  # asyncio's transport, once there is one, is aborted before
            await self._start_tls(phases, sock)
            try:
                async with phases.phase("tls_seconds", "no TLS handshake"):
                    name = self.name.partition("%")[0]
                    _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as exc:
                phases.fail(tls_words(exc))
            self._keep(writer.get_extra_info("ssl_object"), verified=context.verify_mode != ssl.CERT_NONE)
            writer.transport.abort()

    async def _start_tls(self, phases: Phases, sock: socket.socket) -> None:
        """Come to where TLS begins, in the server's own protocol."""
        if self.starttls == "none":
            return
        dialogue = (Smtp if self.starttls == "smtp" else Imap)(Lines.over_socket(sock))
        try:
            async with phases.phase("starttls_seconds", f"no answer to STARTTLS ({self.starttls})"):
                await dialogue.greet()
                if "STARTTLS" not in await dialogue.capabilities():
                    phases.fail("the server offers no STARTTLS")
                await dialogue.start_tls()
        except (DialogueError, LineError) as exc:
            phases.fail(str(exc))
        except OSError as exc:
            phases.fail(f"{words(exc)} before TLS began")

    def _keep(self, tls: ssl.SSLObject, *, verified: bool) -> None:
        leaf = tls.getpeercert(binary_form=True) or b""
        sent = _chain(tls, "get_unverified_chain")
        self.chain, self.chain_is_whole = sent or [leaf], bool(sent)
        if verified:
            self.issuer = next(iter(_chain(tls, "get_verified_chain")[1:2]), leaf)
        with contextlib.suppress(ValueError):
            self.version = float((tls.version() or "").removeprefix("TLSv"))


def _chain(tls: ssl.SSLObject, method: str) -> list[bytes]:
    """Return the certificates of a chain in DER; none where this Python has no way to tell.

    Python 3.13 has these methods on the object itself; 3.10 to 3.12 have them on the one inside it.
    """
    inner: Any = getattr(tls, "_sslobj", None)  # private, for want of a public way before 3.13
    ask = getattr(tls, method, None) or getattr(inner, method, None)
    found = (ask() or []) if ask else []
    return [each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found]
