"""What clients and servers of SMTP (RFC 5321) and IMAP (RFC 9051) say to each other, up to where mail would begin.

Both dialogues have the same steps, so that whoever needs one (`mail`, `tls_certificate`) needs not know which.
"""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from checks.lines import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.lines import Lines

_MOST_LINES = 100
_SMTP = re.compile(r"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
_IMAP = re.compile(r"(\*|\+|[A-Za-z0-9]{1,20}) ?(.*)\Z", re.DOTALL)
_SERVICE_READY, _AUTHENTICATED, _OK = 220, 235, 250
_FORWARDED, _START = 251, 334


class DialogueError(Exception):
    """The server said something else than it should: `str` tells what, in words."""


class Dialogue(Protocol):
    """The steps that SMTP and IMAP share. Each raises `DialogueError`, or `LineError` when no line comes.

    `lines` may be replaced by others once the dialogue goes on over TLS.
    """

    lines: Lines

    async def greet(self) -> None:
        """Read the server's greeting."""
        ...

    async def capabilities(self) -> frozenset[str]:
        """Return what the server offers, in capital letters: `STARTTLS`, `AUTH=PLAIN` …."""
        ...

    async def start_tls(self) -> None:
        """Ask for TLS; the next byte belongs to the handshake."""
        ...

    async def login(self, user: str, password: str) -> None:
        """Log in by SASL PLAIN (RFC 4616)."""
        ...

    async def leave(self) -> None:
        """Say goodbye and wait until it is said back."""
        ...


@dataclass(frozen=True, slots=True)
class SmtpLine:
    """One line of a reply: its code, whether it is the last, and its words."""

    code: int
    last: bool
    text: str

    @classmethod
    def parse(cls, line: str) -> SmtpLine:
        """Read a line by RFC 5321, 4.2; `DialogueError` when it is none."""
        match = _SMTP.match(line)
        if match is None:
            raise DialogueError(f"the answer is not SMTP: {shown(line)!r}")
        return cls(int(match[1]), match[2] != "-", match[3] or "")


@dataclass(frozen=True, slots=True)
class ImapLine:
    """One response: `tag` is `*`, `+` or that of the command it ends; `word` is `OK`, `NO`, `CAPABILITY` …."""

    tag: str
    word: str
    text: str

    @classmethod
    def parse(cls, line: str) -> ImapLine:
        """Read a response by RFC 9051, 7; `DialogueError` when it is none."""
        match = _IMAP.match(line)
        if match is None:
            raise DialogueError(f"the answer is not IMAP: {shown(line)!r}")
        word, _, text = match[2].partition(" ")
        return cls(match[1], word.upper(), text)


class Smtp:
    """SMTP from the client's side."""

    def __init__(self, lines: Lines) -> None:
        """Talk by `lines`."""
        self.lines = lines

    async def greet(self) -> None:
        """Read the greeting, which must be 220."""
        await self._expect("the greeting is", _SERVICE_READY)

    async def capabilities(self) -> frozenset[str]:
        """Say EHLO with this node's name; return the keywords offered, `AUTH LOGIN PLAIN` also as `AUTH=PLAIN` …."""
        offers = await self._command(f"EHLO {socket.gethostname()}", "EHLO is answered", _OK)
        found: set[str] = set()
        for keyword, *values in (offer.upper().split() or [""] for offer in offers[1:]):
            found |= {keyword} | ({f"AUTH={value}" for value in values} if keyword == "AUTH" else set())
        return frozenset(found - {""})

    async def start_tls(self) -> None:
        """Ask for TLS (RFC 3207)."""
        await self._command("STARTTLS", "STARTTLS is answered", _SERVICE_READY)
        _no_more(self.lines)

    async def login(self, user: str, password: str) -> None:
        """Log in (RFC 4954)."""
        await self._command("AUTH PLAIN", "AUTH PLAIN is answered", _START)
        await self._command(sasl_plain(user, password), "the login is refused:", _AUTHENTICATED)

    async def verify_recipient(self, recipient: str) -> None:
        """Ask whether mail to `recipient` would be taken, and take the question back: nothing is ever sent."""
        await self._command("MAIL FROM:<>", "MAIL FROM is answered", _OK)
        await self._command(f"RCPT TO:<{recipient}>", "the recipient is refused:", _OK, _FORWARDED)
        await self._command("RSET", "RSET is answered", _OK)

    async def leave(self) -> None:
        """Say QUIT and read the answer, whatever it is."""
        await self.lines.send("QUIT")
        await self._reply()

    async def _command(self, line: str, words: str, *wanted: int) -> Sequence[str]:
        await self.lines.send(line)
        return await self._expect(words, *wanted)

    async def _expect(self, words: str, *wanted: int) -> Sequence[str]:
        code, texts = await self._reply()
        if code not in wanted:
            raise DialogueError(f"{words} {shown(f'{code} {texts[-1]}')}, expected {wanted[0]}")
        return texts

    async def _reply(self) -> tuple[int, list[str]]:
        texts = []
        for _ in range(_MOST_LINES):
            line = SmtpLine.parse(await self.lines.line())
            texts.append(line.text)
            if line.last:
                return line.code, texts
        raise DialogueError(f"a reply has more than {_MOST_LINES} lines")


class Imap:
    """IMAP from the client's side."""

    def __init__(self, lines: Lines) -> None:
        """Talk by `lines`."""
        self.lines = lines
        self._count = 0

    async def greet(self) -> None:
        """Read the greeting, which must be `* OK` or `* PREAUTH`."""
        line = ImapLine.parse(await self.lines.line())
        if line.tag != "*" or line.word not in ("OK", "PREAUTH"):
            raise DialogueError(f"the greeting is {_said(line)}, expected OK")

    async def capabilities(self) -> frozenset[str]:
        """Ask for the capabilities, such as `IMAP4REV1` and `AUTH=PLAIN`."""
        found: set[str] = set()
        for line in await self._command("CAPABILITY", "CAPABILITY is answered"):
            if line.word == "CAPABILITY":
                found |= set(line.text.upper().split())
        return frozenset(found)

    async def start_tls(self) -> None:
        """Ask for TLS (RFC 9051, 6.2.1)."""
        await self._command("STARTTLS", "STARTTLS is answered")
        _no_more(self.lines)

    async def login(self, user: str, password: str) -> None:
        """Log in (RFC 9051, 6.2.2)."""
        await self._command("AUTHENTICATE PLAIN", "the login is refused:", sasl_plain(user, password))

    async def leave(self) -> None:
        """Say LOGOUT and read the answer, whatever it is."""
        await self._command("LOGOUT", "LOGOUT is answered")

    async def _command(self, command: str, words: str, continuation: str = "") -> list[ImapLine]:
        """Send a command, its second half once the server asks for it, and return the untagged responses."""
        self._count += 1
        tag = f"n{self._count}"
        await self.lines.send(f"{tag} {command}")
        untagged: list[ImapLine] = []
        for _ in range(_MOST_LINES):
            line = ImapLine.parse(await self.lines.line())
            if line.tag == tag and line.word == "OK":
                return untagged
            if line.tag == tag or (line.word == "BYE" and command != "LOGOUT"):
                raise DialogueError(f"{words} {_said(line)}, expected OK")
            if line.tag == "+":
                await self.lines.send(continuation)
                continuation = "*"  # asked once more, SASL is cancelled
            untagged.append(line)
        raise DialogueError(f"{command} is answered by more than {_MOST_LINES} lines")


def sasl_plain(user: str, password: str) -> str:
    """Return both as SASL PLAIN sends them (RFC 4616): readable to everybody, so over TLS alone."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def _said(line: ImapLine) -> str:
    return shown(f"{line.word} {line.text}".strip() or line.tag)


def _no_more(lines: Lines) -> None:
    """Refuse what was slipped in before TLS, to be taken for what TLS protects (CVE-2011-0411)."""
    if lines.unread:
        raise DialogueError("the server goes on talking in plain text after it agreed to TLS")
