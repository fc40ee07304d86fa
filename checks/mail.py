"""Mail: does an SMTP or IMAP server greet, offer what it should, begin TLS and let a user in. No mail is ever sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import split_host_default_port
from checks.check import Unreachable
from checks.connect import connect, words
from checks.lines import LineError, Lines
from checks.mail_wire import DialogueError, Imap, Smtp, sasl_plain
from checks.phases import Phases
from checks.secret import hide, read_password
from checks.tls import expiry_days, tls_context, tls_words
from checks.tls_handshake import Handshake

if TYPE_CHECKING:
    import socket

    from checks.mail_wire import Dialogue

_PORTS = {"smtp": 25, "submission": 587, "smtps": 465, "imap": 143, "imaps": 993}
_RECIPIENT = re.compile(r"[^\s<>\x00-\x1f\x7f-\U0010ffff]{1,256}\Z")


class Mail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a visit to a mail server, which ends before any mail would begin."""

    name: ClassVar[str] = "mail"
    summary: ClassVar[str] = "whether a mail server (SMTP, IMAP) greets, begins TLS and lets a user in; no mail is sent"
    target_help: ClassVar[str] = "host or host:port: mail.example, 10.92.0.1:2525; without a port, that of protocol"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when every step went as it should, else 0",
        "dns_seconds": "time to resolve the name, seconds",
        "connect_seconds": "time to connect, seconds",
        "greeting_seconds": "time from the connection (or TLS) to the whole greeting, seconds",
        "tls_seconds": "time of the TLS handshake, seconds",
        "login_seconds": "time to log in, seconds",
        "recipient_seconds": "time until the recipient was accepted, seconds",
        "total_seconds": "time from the start to the last answer, seconds",
        "starttls_offered": "1 when the server offers STARTTLS, 0 when it does not",
        "capabilities": "capabilities offered at the end, after TLS, count",
        "certificate_expiry_days": "days until the certificate expires, negative afterwards",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    protocol: Annotated[
        Literal["smtp", "submission", "smtps", "imap", "imaps"], msgspec.Meta(description="what is spoken there")
    ] = "smtp"
    starttls: Annotated[
        Literal["required", "if_offered", "never"], msgspec.Meta(description="TLS for smtp, submission and imap")
    ] = "required"
    user: Annotated[str | None, msgspec.Meta(description="log in as this user, over TLS alone")] = None
    password_file: Annotated[str | None, msgspec.Meta(description="file that holds the password alone")] = None
    recipient: Annotated[str | None, msgspec.Meta(description="SMTP: ask whether mail for it would be taken")] = None
    expected_capabilities: Annotated[tuple[str, ...], msgspec.Meta(description="what must be offered: SIZE, IDLE")] = ()
    server_name: Annotated[str | None, msgspec.Meta(description="name for TLS if the target is an IP")] = None
    verify_tls: Annotated[bool, msgspec.Meta(description="false accepts any certificate, also self-signed")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust instead of the system's")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 15.0

    def __post_init__(self) -> None:
        """Refuse what would send a password in the clear, or a recipient that is more than one address."""
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file are given together, or neither")
        if self.user is not None and not (self.verify_tls and self.starttls == "required"):
            raise ValueError("a login needs starttls required and verify_tls: else strangers could read the password")
        if self.user is not None and (not self.user or "\0" in self.user):
            raise ValueError("user is empty or has a null character")
        if self.recipient is not None and self._imap:
            raise ValueError(f"recipient is for SMTP; protocol is {self.protocol}")
        if self.recipient is not None and not _RECIPIENT.match(self.recipient):
            raise ValueError("recipient is not one address; write van@mail.example")

    @property
    def _imap(self) -> bool:
        return self.protocol.startswith("imap")

    @property
    def _implicit(self) -> bool:
        """Whether TLS comes before the first word."""
        return self.protocol in ("smtps", "imaps")

    async def measure(self, target: str) -> dict[str, float]:
        """Visit the server at `target`; `Unreachable` says at which step it went wrong, and what the server said."""
        host, port = split_host_default_port(target, _PORTS[self.protocol])
        password = read_password(self.password_file)
        phases = Phases(self.timeout_seconds)
        sock = await connect(phases, host, port, self.ip_version)
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            try:
                await self._visit(Visit(phases, sock, host, port, stack), password)
            except (DialogueError, LineError) as exc:
                phases.fail(hide(str(exc), password, sasl_plain(self.user or "", password)))
            except OSError as exc:
                phases.fail(f"{words(exc)} in the middle of the dialogue")
        phases.metrics["total_seconds"] = time.perf_counter() - phases.began
        return {"success": 1.0, **phases.metrics}

    async def _visit(self, visit: Visit, password: str) -> None:
        phases = visit.phases
        lines = await self._secure(visit) if self._implicit else Lines.over_socket(visit.sock)
        dialogue: Dialogue = Imap(lines) if self._imap else Smtp(lines)
        async with phases.phase("greeting_seconds", "no greeting"):
            await dialogue.greet()
        async with phases.phase(None, "no answer to the question for capabilities"):
            offers = await dialogue.capabilities()
        if not self._implicit:
            offers = await self._begin_tls(visit, dialogue, offers)
        phases.metrics["capabilities"] = float(len(offers))
        if lacking := [each for each in self.expected_capabilities if each.upper() not in offers]:
            phases.fail(f"the server does not offer {', '.join(lacking)}")
        await self._log_in(phases, dialogue, offers, password)
        if self.recipient is not None and isinstance(dialogue, Smtp):
            async with phases.phase("recipient_seconds", "no answer about the recipient"):
                await dialogue.verify_recipient(self.recipient)
        async with phases.phase(None, "no goodbye"):
            await dialogue.leave()

    async def _begin_tls(self, visit: Visit, dialogue: Dialogue, offers: frozenset[str]) -> frozenset[str]:
        """Go on over TLS, and return what the server offers there."""
        offered = "STARTTLS" in offers
        visit.phases.metrics["starttls_offered"] = float(offered)
        if self.starttls == "never" or (self.starttls == "if_offered" and not offered):
            return offers
        if not offered:
            visit.phases.fail("the server offers no STARTTLS")
        async with visit.phases.phase(None, "no answer to STARTTLS"):
            await dialogue.start_tls()
        dialogue.lines = await self._secure(visit)
        async with visit.phases.phase(None, "no answer to the question for capabilities"):
            return await dialogue.capabilities()

    async def _log_in(self, phases: Phases, dialogue: Dialogue, offers: frozenset[str], password: str) -> None:
        if self.user is None:
            return
        if "AUTH=PLAIN" not in offers:
            phases.fail("the server offers no login by AUTH PLAIN")
        async with phases.phase("login_seconds", "no answer to the login"):
            await dialogue.login(self.user, password)

    async def _secure(self, visit: Visit) -> Lines:
        """Shake hands over the connection, and go on talking over what comes out."""
        context = tls_context(self.verify_tls, self.ca_file)
        name = (self.server_name or visit.host).partition("%")[0]
        try:
            async with visit.phases.phase("tls_seconds", "no TLS handshake"):
                reader, writer = await asyncio.open_connection(sock=visit.sock, ssl=context, server_hostname=name)
        except OSError as exc:
            if isinstance(exc, ssl.SSLCertVerificationError):
                await self._note_unaccepted(visit)
            visit.phases.fail(tls_words(exc))
        visit.stack.callback(_abort, writer)
        _note_certificate(visit.phases, writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        return Lines.over_streams(reader, writer)

    async def _note_unaccepted(self, visit: Visit) -> None:
        """Read the date of a certificate that was refused: a second connection, and no harm if it fails."""
        starttls = "none" if self._implicit else "imap" if self._imap else "smtp"
        name = self.server_name or visit.host
        look = Handshake(visit.phases, visit.host, visit.port, name, starttls, self.ip_version)
        with contextlib.suppress(Unreachable):
            await look.without_verifying()
            _note_certificate(visit.phases, look.chain[0])


@dataclass(frozen=True, slots=True)
class Visit:
    """A connection on its way through the steps, and what is to be closed at its end."""

    phases: Phases
    sock: socket.socket
    host: str
    port: int
    stack: contextlib.ExitStack


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()  # at once: a server that never says goodbye must not hold us


def _note_certificate(phases: Phases, der: bytes) -> None:
    with contextlib.suppress(ValueError):
        phases.metrics["certificate_expiry_days"] = expiry_days(der)
