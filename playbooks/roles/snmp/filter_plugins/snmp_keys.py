"""SNMPv3 keys of one host: the passwords stay on the control node, and a stolen host opens no other."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ansible.errors import AnsibleFilterError

_SHORTEST = 8  # RFC 3414, 11.2
_MEGABYTE = 1 << 20


def snmp_engine_id(name: str) -> str:
    """Return the host's engine ID in hexadecimal: RFC 3411, 5, SnmpEngineID, format 4 (text), Net-SNMP's enterprise."""
    text = name.encode()
    if not 1 <= len(text) <= 27:  # noqa: PLR2004  (RFC 3411: the octets of format 4)
        raise AnsibleFilterError(f"{name!r} has {len(text)} bytes; an SNMP engine ID takes names of 1 to 27")
    return (b"\x80\x00\x1f\x88\x04" + text).hex()


def snmp_localized_key(password: str, engine_id: str, *, what: str, octets: int = 32) -> str:
    """Return the key in hexadecimal, of usmHMAC192SHA256's algorithm: RFC 3414, A.2.2 with SHA-256 as in RFC 7860, 9.3.

    `octets` is 32 for authentication and 16 for AES-128 (RFC 3826, 3.1.2.1).
    """
    if len(password) < _SHORTEST:
        raise AnsibleFilterError(f"{what} has {len(password)} characters; SNMPv3 takes {_SHORTEST} or more")
    secret = password.encode()
    long = (secret * (_MEGABYTE // len(secret) + 1))[:_MEGABYTE]
    key, engine = sha256(long).digest(), bytes.fromhex(engine_id)
    return sha256(key + engine + key).digest()[:octets].hex()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"snmp_engine_id": snmp_engine_id, "snmp_localized_key": snmp_localized_key}
