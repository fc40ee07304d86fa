"""A key pair of age, which backups are encrypted to: X25519 in Bech32 (age-encryption.org/v1, BIP 173)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def new_pair() -> tuple[str, str]:
    """Return a fresh identity, which is secret, and its recipient, which is not. `ImportError` without cryptography."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415  (operators have it)

    key = X25519PrivateKey.generate()
    identity = bech32("age-secret-key-", key.private_bytes_raw()).upper()
    return identity, bech32("age", key.public_key().public_bytes_raw())


def bech32(prefix: str, data: bytes) -> str:
    """Write bytes in Bech32, with its checksum."""
    digits = _fives(data)
    head = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    rest = _remainder([*head, *digits, 0, 0, 0, 0, 0, 0]) ^ 1
    check = [(rest >> 5 * (5 - place)) & 31 for place in range(6)]
    return f"{prefix}1" + "".join(_LETTERS[digit] for digit in (*digits, *check))


def _fives(data: bytes) -> list[int]:
    """Return the bits in groups of five, filled up with zeros."""
    bits = "".join(f"{byte:08b}" for byte in data)
    return [int(bits[start : start + 5].ljust(5, "0"), 2) for start in range(0, len(bits), 5)]


def _remainder(digits: Iterable[int]) -> int:
    value = 1
    for digit in digits:
        top, value = value >> 25, (value & 0x1FFFFFF) << 5 ^ digit
        for bit, word in enumerate(_GENERATOR):
            value ^= word if top >> bit & 1 else 0
    return value
