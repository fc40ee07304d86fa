"""Who we are to a device: a community (SNMPv2c) or a user with passwords (SNMPv3, RFC 3414), from a private file."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Literal

import msgspec

from checks.check import CheckError
from checks.strict import ConfigError, load_yaml

if TYPE_CHECKING:
    from pathlib import Path

_SHORTEST_PASSWORD = 8


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `community`, or `user`; a user with `auth_password` signs, and with `priv_password` also encrypts."""

    community: str | None = None
    user: str | None = None
    auth_protocol: Literal["SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "MD5"] = "SHA"
    auth_password: str | None = None
    priv_protocol: Literal["AES", "AES-192", "AES-256", "DES"] = "AES"
    priv_password: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no device can mean; no message repeats a secret."""
        if (self.community is None) == (self.user is None):
            raise ValueError("needs either community (SNMPv2c) or user (SNMPv3)")
        if self.user is None and (self.auth_password or self.priv_password):
            raise ValueError("passwords belong to a user: SNMPv2c has none")
        if self.priv_password and not self.auth_password:
            raise ValueError("priv_password needs auth_password: SNMPv3 does not encrypt what it does not sign")
        for name in ("auth_password", "priv_password"):
            password = getattr(self, name)
            if password is not None and len(password) < _SHORTEST_PASSWORD:
                raise ValueError(f"{name} is shorter than {_SHORTEST_PASSWORD} characters (RFC 3414, 11.2)")

    def __repr__(self) -> str:
        """Show nothing that is secret."""
        return "<SNMP credentials>"


def read_credentials(path: Path) -> Credentials:
    """Read the file; `CheckError` where it is missing, open to everyone, or wrong."""
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise CheckError(
                f"{path} is open to every user of this machine (mode {mode & 0o777:04o}): chmod 0600 {path}"
            )
        return load_yaml(path, Credentials)
    except OSError as exc:
        raise CheckError(f"{path} cannot be read: {exc.strerror}") from None
    except ConfigError as exc:
        raise CheckError("; ".join(exc.lines())) from None
