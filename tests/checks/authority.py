"""A certificate authority that OpenSSL plays: its responder (`openssl ocsp`), its lists (`openssl ca -gencrl`)."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.checks.pki import Identity, issue

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Pki:
    """A root and its intermediate, and an openssl responder that knows a good and a revoked certificate of theirs."""

    root: Identity
    middle: Identity
    good: Identity
    revoked: Identity
    folder: Path
    ocsp_url: str

    @property
    def ca_file(self) -> str:
        return str(self.folder / "root.pem")

    @property
    def issuer_file(self) -> str:
        return str(self.folder / "middle.pem")

    def issue(self, hosts: tuple[str, ...] = ("localhost", "127.0.0.1"), **more: Any) -> Identity:
        return issue("server", self.middle, hosts=hosts, ocsp_url=self.ocsp_url, **more)

    def write(self, identity: Identity, name: str) -> str:
        """Write a certificate alone, in PEM; return the file."""
        (self.folder / name).write_bytes(identity.pem)
        return str(self.folder / name)

    def crl(self, *words: str, signer: Identity | None = None) -> bytes:
        """Have `openssl ca` make the revocation list of the intermediate, in PEM; `words` say until when it is good."""
        pem, key = (signer or self.middle).write(
            self.folder, f"crl-{(signer or self.middle).certificate.serial_number}"
        )
        configuration = self.folder / "ca.cnf"
        configuration.write_text(
            f"[ca]\ndefault_ca = here\n[here]\ndatabase = {self.folder}/index.txt\ndefault_md = sha256\n",
            encoding="utf-8",
        )
        asked = ["openssl", "ca", "-gencrl", "-config", str(configuration), "-cert", pem, "-keyfile", key, *words]
        return subprocess.run(asked, check=True, capture_output=True, timeout=60).stdout


@contextlib.contextmanager
def made_pki(folder: Path, port: int) -> Iterator[Pki]:
    """Make the authority in a folder, its responder on `port` of loopback."""
    root = issue("Root of the tests", ca=True, days=3650)
    middle = issue("Intermediate of the tests", root, ca=True, days=300)
    (folder / "root.pem").write_bytes(root.pem)
    (folder / "middle.pem").write_bytes(middle.pem)
    url = f"http://127.0.0.1:{port}/"
    good, revoked = (issue("server", middle, hosts=("localhost", "127.0.0.1"), ocsp_url=url) for _ in range(2))
    index = [_entry(good), _entry(revoked, "250301120000Z,keyCompromise")]
    (folder / "index.txt").write_text("".join(index), encoding="utf-8")
    with responder(folder, middle, port):
        yield Pki(root, middle, good, revoked, folder, url)


def _entry(identity: Identity, revoked: str = "") -> str:
    """One line of an OpenSSL CA's index: state, expiry, revocation, serial number in whole bytes, file, subject."""
    certificate = identity.certificate
    expiry = certificate.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
    serial = certificate.serial_number.to_bytes((certificate.serial_number.bit_length() + 7) // 8, "big").hex().upper()
    return f"{'R' if revoked else 'V'}\t{expiry}\t{revoked}\t{serial}\tunknown\t/CN=server\n"


@contextlib.contextmanager
def responder(folder: Path, signer: Identity, port: int, *more: str) -> Iterator[str]:
    """Run `openssl ocsp` for the folder's index and intermediate, its answers signed by `signer`; give its address."""
    certificate, key = signer.write(folder, f"responder-{port}")
    words = ["openssl", "ocsp", "-port", str(port), "-index", str(folder / "index.txt"), "-ndays", "1"]
    words += ["-CA", str(folder / "middle.pem"), "-rsigner", certificate, "-rkey", key, *more]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            # It says when it listens. To try whether it does would stop it: it waits for ever on who says nothing.
            assert process.stdout.readline().startswith(b"ACCEPT"), "the responder did not start"
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def signed_answer(pki: Pki, *, hours: float = 0, about: Identity | None = None, nonce: bytes | None = None) -> bytes:
    """Build a response of `hours` ago that is right in everything else: openssl's responder cannot lie about time."""
    began = datetime.now(UTC) + timedelta(hours=hours)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=(about or pki.good).certificate,
        issuer=pki.middle.certificate,
        algorithm=hashes.SHA1(),  # noqa: S303  (an identifier, as every responder knows it)
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=began,
        next_update=began + timedelta(hours=1),
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, pki.middle.certificate)
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(pki.middle.key, hashes.SHA256()).public_bytes(Encoding.DER)


def encode_status(status: ocsp.OCSPResponseStatus) -> bytes:
    built = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return built.public_bytes(Encoding.DER)


def http(body: bytes, status: str = "200 OK") -> Any:
    """Answer any request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return handle
