"""TLS towards a server: settings that are made once, a handshake's date, and words for what goes wrong in it."""

from __future__ import annotations

import functools
import ssl
from datetime import UTC, datetime
from pathlib import Path

from checks.certificate import not_after
from checks.check import CheckError
from checks.connect import words

_DAY_SECONDS = 86_400


def tls_context(verify: bool, ca_file: str | None, *, check_name: bool = True) -> ssl.SSLContext:  # noqa: FBT001  (a parameter of the check)
    """Return the TLS settings, made once for each kind: reading a few hundred root certificates costs 10 ms and more.

    Without `verify` any certificate is accepted; without `check_name` one for another name is. A changed file is read
    again. `CheckError` names a file that cannot be read.
    """
    path = Path(ca_file or ssl.get_default_verify_paths().cafile or "/")
    try:
        changed_at = path.stat().st_mtime_ns
    except OSError as exc:
        raise CheckError(f"ca_file {path} cannot be read: {exc.strerror}") from None
    return _made(verify, ca_file, check_name, changed_at)


@functools.lru_cache(maxsize=16)
def _made(verify: bool, ca_file: str | None, check_name: bool, _changed_at: int) -> ssl.SSLContext:  # noqa: FBT001  (as above)
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise CheckError(f"ca_file {ca_file} holds no certificate in PEM form") from None
    except OSError as exc:
        raise CheckError(f"ca_file {ca_file} cannot be read: {exc.strerror}") from None
    context.check_hostname = check_name
    return context


def expiry_days(der: bytes) -> float:
    """Return the days until a certificate expires, negative afterwards. `ValueError` when it is not one."""
    return (not_after(der) - datetime.now(UTC)).total_seconds() / _DAY_SECONDS


def tls_words(exc: OSError) -> str:
    """Say in plain words why a handshake failed."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {exc.verify_message.rstrip('.').lower()}"
    if isinstance(exc, ssl.SSLError):
        if exc.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return "the server does not speak TLS there"
        return f"the TLS handshake failed: {(exc.reason or str(exc)).replace('_', ' ').lower()}"
    return f"the TLS handshake failed: {words(exc)}"
