"""mail against a real OpenSMTPD and a real Dovecot (IMAP, and submission in front of OpenSMTPD), and against fakes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.lines import LONGEST_LINE_BYTES, LineError, Lines, shown
from checks.mail import Mail
from checks.mail_wire import DialogueError, Imap, ImapLine, Smtp, SmtpLine
from checks.run import run
from checks.strict import ConfigError
from checks.tls_certificate import TlsCertificate
from tests.checks.conftest import free_port, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme

    from checks.result import Result

PASSWORD = "s3cret mật khẩu"


async def visit(port: int, host: str = "localhost", **parameters: Any) -> Result:
    options = {"ip_version": 4} if host == "localhost" else {}
    return await run(Mail(**{**options, **parameters}), f"{host}:{port}", site="s", node="n")


@dataclass(frozen=True)
class Mailers:
    """Real servers: OpenSMTPD without TLS, Dovecot for everything else."""

    smtp: int
    submission: int
    smtps: int
    imap: int
    imaps: int
    ca_file: str
    password_file: str
    wrong_password_file: str

    @property
    def login(self) -> dict[str, str]:
        return {"user": "van", "password_file": self.password_file, "ca_file": self.ca_file}


@pytest.fixture(scope="module")
def mailers(ca: trustme.CA) -> Iterator[Mailers]:
    """Run both servers, with everything that they write in a folder that their own users can enter."""
    if os.geteuid() != 0 or not (shutil.which("smtpd", path="/usr/sbin") and shutil.which("dovecot", path="/usr/sbin")):
        pytest.skip("needs root, opensmtpd and dovecot (apt install opensmtpd dovecot-imapd dovecot-submissiond)")
    with tempfile.TemporaryDirectory(prefix="nhip-mail-") as name:
        home = Path(name)
        home.chmod(0o711)
        ports = [free_port() for _ in range(5)]
        files = [str(home / each) for each in ("ca.pem", "password", "wrong")]
        found = Mailers(*ports, *files)
        now = datetime.now(UTC)
        cert = ca.issue_cert("localhost", not_before=now - timedelta(days=1), not_after=now + timedelta(days=30))
        cert.private_key_and_cert_chain_pem.write_to_path(home / "good.pem")
        ca.cert_pem.write_to_path(found.ca_file)
        for file, secret in ((found.password_file, PASSWORD), (found.wrong_password_file, "guess")):
            Path(file).write_text(secret + "\n", encoding="utf-8")
            Path(file).chmod(0o600)
        with _opensmtpd(home, found), _dovecot(home, found):
            yield found


@contextlib.contextmanager
def _running(words: list[str], *ports: int) -> Iterator[None]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for port in ports:
            wait_for_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _opensmtpd(home: Path, ports: Mailers) -> contextlib.AbstractContextManager[None]:
    """OpenSMTPD has its queue and its socket at fixed places: it gets its own, in a mount namespace."""
    (home / "smtpd.conf").write_text(
        f'table people {{ "van" = "65534:65534:{home}" }}\nlisten on 127.0.0.1 port {ports.smtp}\n'
        'action "local" maildir userbase <people>\nmatch from any for domain "mail.test" action "local"\n',
        encoding="ascii",
    )
    script = (
        "mount -t tmpfs -o mode=755 tmpfs /var/spool && mount -t tmpfs -o mode=755 tmpfs /run && "
        f"mkdir -m 711 /var/spool/smtpd && exec /usr/sbin/smtpd -d -f {home}/smtpd.conf"
    )
    return _running(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], ports.smtp)


def _dovecot(home: Path, ports: Mailers) -> contextlib.AbstractContextManager[None]:
    (home / "users").write_text("van:{PLAIN}" + PASSWORD + "\n", encoding="utf-8")
    (home / "mail").mkdir()
    for each in ("users", "mail"):
        shutil.chown(home / each, "dovecot", "dovecot")
    (home / "dovecot.conf").write_text(
        f"""
        base_dir = {home}/run
        state_dir = {home}/state
        log_path = {home}/log
        protocols = imap submission
        listen = 127.0.0.1
        ssl = yes
        ssl_cert = <{home}/good.pem
        ssl_key = <{home}/good.pem
        auth_mechanisms = plain
        auth_failure_delay = 0
        mail_location = maildir:{home}/mail/%u
        first_valid_uid = 1
        submission_relay_host = 127.0.0.1
        submission_relay_port = {ports.smtp}
        passdb {{
          driver = passwd-file
          args = {home}/users
        }}
        userdb {{
          driver = static
          args = uid=dovecot gid=dovecot home={home}/mail/%u
        }}
        service anvil {{
          chroot =
          unix_listener anvil-auth-penalty {{
            mode = 0
          }}
        }}
        service imap-login {{
          chroot =
          inet_listener imap {{
            port = {ports.imap}
          }}
          inet_listener imaps {{
            port = {ports.imaps}
            ssl = yes
          }}
        }}
        service submission-login {{
          chroot =
          inet_listener submission {{
            port = {ports.submission}
          }}
          inet_listener submissions {{
            port = {ports.smtps}
            ssl = yes
          }}
        }}
        """,
        encoding="ascii",
    )
    listening = (ports.imap, ports.imaps, ports.submission, ports.smtps)
    return _running(["/usr/sbin/dovecot", "-F", "-c", str(home / "dovecot.conf")], *listening)


async def test_a_plain_smtp_server_greets_and_takes_mail_for_whom_it_knows(mailers: Mailers) -> None:
    known = await visit(mailers.smtp, starttls="never", recipient="van@mail.test")
    assert (known.reason, known.error) == (None, None)
    timed = {"dns_seconds", "connect_seconds", "greeting_seconds", "recipient_seconds", "total_seconds"}
    assert set(known.metrics) == timed | {"success", "starttls_offered", "capabilities"}
    assert known.metrics["starttls_offered"] == 0
    assert known.metrics["capabilities"] >= 4
    unknown = await visit(mailers.smtp, starttls="if_offered", recipient="nobody@mail.test")
    assert unknown.reason is not None
    assert unknown.reason.startswith("the recipient is refused: 550 Invalid recipient: <nobody@mail.test>")
    assert unknown.metrics["success"] == 0


async def test_a_server_without_tls_fails_where_tls_is_required(mailers: Mailers) -> None:
    result = await visit(mailers.smtp)
    assert (result.reason, result.metrics["starttls_offered"]) == ("the server offers no STARTTLS", 0)
    assert "greeting_seconds" in result.metrics


@pytest.mark.parametrize("protocol", ["submission", "smtps", "imap", "imaps"])
async def test_a_user_is_let_in_over_tls(mailers: Mailers, protocol: Any) -> None:
    expected = ("AUTH=PLAIN", "idle") if protocol.startswith("imap") else ("size", "AUTH=PLAIN")
    result = await visit(getattr(mailers, protocol), protocol=protocol, **mailers.login, expected_capabilities=expected)
    assert (result.reason, result.error) == (None, None)
    absent = {"recipient_seconds"} | ({"starttls_offered"} if protocol.endswith("s") else set())
    assert set(result.metrics) == set(Mail.metrics) - absent
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("protocol", ["submission", "imap", "imaps"])
async def test_a_wrong_password_is_refused_in_the_servers_words(mailers: Mailers, protocol: Any) -> None:
    login = {**mailers.login, "password_file": mailers.wrong_password_file}
    result = await visit(getattr(mailers, protocol), protocol=protocol, **login)
    assert result.reason is not None
    assert result.reason.startswith("the login is refused: ")
    assert (result.metrics["success"], "login_seconds" in result.metrics) == (0, False)
    assert result.metrics["tls_seconds"] > 0


async def test_a_recipient_is_asked_for_behind_tls_and_a_login(mailers: Mailers) -> None:
    result = await visit(mailers.smtps, protocol="smtps", **mailers.login, recipient="van@mail.test")
    assert (result.reason, result.metrics["success"]) == (None, 1)
    assert result.metrics["recipient_seconds"] > 0


@pytest.mark.parametrize("protocol", ["submission", "imap", "imaps"])
async def test_a_certificate_that_is_not_accepted_still_tells_its_date(mailers: Mailers, protocol: Any) -> None:
    result = await visit(getattr(mailers, protocol), protocol=protocol)
    assert result.reason == "the certificate is not accepted: unable to get local issuer certificate"
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)
    other = await visit(getattr(mailers, protocol), "127.0.0.1", protocol=protocol, ca_file=mailers.ca_file)
    assert other.reason is not None
    assert "not valid for '127.0.0.1'" in other.reason
    any_will_do = await visit(getattr(mailers, protocol), protocol=protocol, verify_tls=False)
    assert any_will_do.metrics["success"] == 1


async def test_what_is_expected_and_not_offered_is_named(mailers: Mailers) -> None:
    result = await visit(mailers.smtp, starttls="never", expected_capabilities=("SIZE", "SMTPUTF8", "CHUNKING"))
    assert result.reason == "the server does not offer SMTPUTF8, CHUNKING"


@pytest.mark.parametrize("starttls", ["smtp", "imap"])
async def test_certificates_of_mail_servers_are_looked_at_too(mailers: Mailers, starttls: Any) -> None:
    port = mailers.imap if starttls == "imap" else mailers.submission
    check = TlsCertificate(starttls=starttls, ca_file=mailers.ca_file, server_name="localhost")
    result = await run(check, f"127.0.0.1:{port}", site="s", node="n")
    assert (result.reason, result.metrics["success"]) == (None, 1)
    assert result.metrics["starttls_seconds"] > 0
    assert result.metrics["certificate_expiry_days"] == pytest.approx(30, abs=0.1)


# Servers that misbehave.


def play(*script: bytes) -> Any:
    """Say one piece, wait for a line, say the next …, then wait."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in script:
            writer.write(piece)
            await writer.drain()
            await reader.readline()
        await asyncio.sleep(60)

    return handle


EHLO = b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("protocol", "script", "reason"),
    [
        ("smtp", [b"SSH-2.0-OpenSSH\r\n"], "the answer is not SMTP: 'SSH-2.0-OpenSSH'"),
        ("smtp", [b"421 too busy\r\n"], "the greeting is 421 too busy, expected 220"),
        ("smtp", [b"220 hi\r\n", b"502 what\r\n"], "EHLO is answered 502 what, expected 250"),
        ("smtp", [b"220-a\r\n" * 200], "a reply has more than 100 lines"),
        ("smtp", [b"220 " + b"x" * 70_000], "the server sends a line of more than 8192 bytes"),
        ("smtp", [b"220 hi\r\n", EHLO, b"220 go\r\n250 injected\r\n"], "the server goes on talking in plain text"),
        ("smtp", [b"220 hi\r\n", EHLO, b"220 go\r\n", b"no TLS\r\n"], "the server does not speak TLS there"),
        ("imap", [b"* BYE down\r\n"], "the greeting is BYE down, expected OK"),
        ("imap", [b"+ hm\r\n"], "the greeting is HM, expected OK"),
        ("imap", [b"\xff\xfe\r\n"], "the answer is not IMAP: "),
        ("imap", [b"* OK\r\n", b"* BYE shutting down\r\n"], "CAPABILITY is answered BYE shutting down, expected OK"),
        ("imap", [b"* OK\r\n", b"n1 BAD no\r\n"], "CAPABILITY is answered BAD no, expected OK"),
        ("imap", [b"* OK\r\n", b"* x\r\n" * 200], "CAPABILITY is answered by more than 100 lines"),
    ],
)
async def test_a_server_that_says_something_else_is_quoted(
    protocol: Any, script: list[bytes], reason: str, serve: Any
) -> None:
    async with serve(play(*script)) as port:
        result = await visit(port, "127.0.0.1", protocol=protocol)
    assert result.error is None
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert result.metrics["success"] == 0


async def test_control_characters_of_a_stranger_reach_no_terminal(serve: Any) -> None:
    async with serve(play(b"554 \x1b[2J\x07\xe2\x80\xae owned\r\n")) as port:
        result = await visit(port, "127.0.0.1", starttls="never")
    assert result.reason == "the greeting is 554 ?[2J?? owned, expected 220"


async def test_a_server_that_drips_ends_at_the_deadline_and_its_phases_are_kept(serve: Any) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"2")
            await asyncio.sleep(0.02)

    async with serve(drip) as port:
        result = await visit(port, "127.0.0.1", timeout_seconds=0.6)
    assert result.reason == "no greeting within 0.6 s"
    assert set(result.metrics) == {"success", "connect_seconds"}


async def test_a_server_that_hangs_up_says_so(serve: Any) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220-half")
        await writer.drain()
        writer.close()

    async with serve(hang_up) as port:
        result = await visit(port, "127.0.0.1")
    assert result.reason == "the server closed the connection in the middle of a line"


async def test_a_password_that_the_server_sends_back_is_not_repeated(
    serve: Any, ca: trustme.CA, mailers: Mailers
) -> None:
    import ssl  # noqa: PLC0415  (this test alone is a TLS server)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-mx\r\n250 AUTH PLAIN\r\n")
        await reader.readline()
        writer.write(b"334 \r\n")
        writer.write(b"535 I do not know " + (await reader.readline()).strip() + f" {PASSWORD}\r\n".encode())
        await writer.drain()
        await reader.read(100)

    async with serve(echo, ssl=context) as port:
        result = await visit(port, protocol="smtps", **mailers.login)
    assert result.reason == "the login is refused: 535 I do not know <secret> <secret>, expected 235"


async def test_a_password_is_never_sent_without_tls(serve: Any, mailers: Mailers) -> None:
    heard = bytearray()

    async def lure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        heard.extend(await reader.readline())
        writer.write(b"250-mx\r\n250 AUTH PLAIN\r\n")
        heard.extend(await reader.read())

    async with serve(lure) as port:
        result = await visit(port, **mailers.login)
    assert result.reason == "the server offers no STARTTLS"
    assert heard.startswith(b"EHLO ")
    assert heard.count(b"\n") == 1


async def test_files_and_targets_that_cannot_be_used_are_our_errors(tmp_path: Path) -> None:
    missing = await visit(9, user="van", password_file=str(tmp_path / "none"))
    assert missing.error == f"password_file {tmp_path}/none cannot be read: No such file or directory"
    (tmp_path / "two").write_text("one\ntwo", encoding="ascii")
    (tmp_path / "two").chmod(0o600)
    two = await visit(9, user="van", password_file=str(tmp_path / "two"))
    assert two.error == f"password_file {tmp_path}/two must hold one password on one line and nothing else"
    (tmp_path / "two").chmod(0o644)
    two = await visit(9, user="van", password_file=str(tmp_path / "two"))
    assert two.error is not None
    assert "is open to every user of this machine (mode 0644)" in two.error
    nothing = await run(Mail(), "", site="s", node="n")
    assert nothing.error == "target '' is not a host; write a name or an address, without port or path"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"protocol": "pop3"}, "$.protocol: 'pop3' is not one of: smtp, submission, smtps, imap, imaps"),
        ({"user": "van"}, "user and password_file are given together, or neither"),
        ({"user": "van", "password_file": "/x", "starttls": "if_offered"}, "a login needs starttls required"),
        ({"user": "van", "password_file": "/x", "verify_tls": False}, "a login needs starttls required and verify_tls"),
        ({"password": "x"}, "$.password: is unknown; there are: ca_file"),
        ({"recipient": "a@b>\r\nDATA"}, "recipient is not one address; write van@mail.example"),
        ({"recipient": "a@b", "protocol": "imap"}, "recipient is for SMTP; protocol is imap"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("mail", parameters)
    assert message in str(caught.value)


# The readers of lines, on everything that can come.


def lines_of(data: bytes, size: int) -> Lines:
    """Return a dialogue in which `data` comes in pieces of `size` bytes, and nothing is heard."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def receive(_: int) -> bytes:
        return pieces.pop(0) if pieces else b""

    async def send(_: bytes) -> None:
        return None

    return Lines(receive, send)


async def _all(lines: Lines) -> list[str]:
    found = []
    with contextlib.suppress(LineError):
        while True:
            found.append(await lines.line())
    return found


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))), st.integers(1, 50))
def test_lines_are_the_same_however_they_are_cut_into_packets(texts: list[str], size: int) -> None:
    for end in ("\n", "\r\n"):
        data = "".join(text + end for text in texts).encode()
        assert asyncio.run(_all(lines_of(data, size))) == texts


@given(st.integers(1, 3000), st.integers(-2, 2))
def test_a_line_has_an_end_or_is_refused(size: int, more: int) -> None:
    line = b"x" * (LONGEST_LINE_BYTES + more)
    found = asyncio.run(_all(lines_of(line + b"\n", size)))
    assert found == ([line.decode()] if more <= 0 else [])


@given(st.text())
def test_a_line_is_smtp_or_refused_in_words(text: str) -> None:
    line = None
    with contextlib.suppress(DialogueError):
        line = SmtpLine.parse(text)
    if line is not None:
        assert text == f"{line.code}{'' if line.last else '-'}{text[3:4] if line.last else ''}{line.text}"


@given(st.integers(200, 599), st.sampled_from(" -"), st.text())
def test_every_line_of_a_reply_is_read(code: int, sign: str, text: str) -> None:
    assert SmtpLine.parse(f"{code}{sign}{text}") == SmtpLine(code, sign == " ", text)


@given(st.text(), st.sampled_from(["* ", "+ ", "n1 ", ""]))
def test_a_line_is_imap_or_refused_in_words(text: str, start: str) -> None:
    with contextlib.suppress(DialogueError):
        line = ImapLine.parse(start + text)
        assert line.tag
        assert " " not in line.word


@given(st.binary(max_size=2000), st.sampled_from([Smtp, Imap]))
def test_a_dialogue_with_noise_ends_in_words(noise: bytes, kind: Callable[[Lines], Any]) -> None:
    async def talk() -> None:
        dialogue = kind(lines_of(noise, 100))
        await dialogue.greet()
        await dialogue.capabilities()
        await dialogue.login("van", "x")
        await dialogue.start_tls()

    with contextlib.suppress(DialogueError, LineError):
        asyncio.run(talk())


@given(st.text(max_size=500))
def test_what_is_shown_is_printable_and_short(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 201
