"""Ask a device by SNMP: single objects and whole columns of tables, each bounded in size and time.

pysnmp does the protocol; this belongs into a child process. MIBs are not consulted: objects have numbers here, so
nothing is compiled, and nothing is fetched.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pysnmp.hlapi.v3arch.asyncio import (  # type: ignore[import-untyped]  # pysnmp has no types
    USM_AUTH_HMAC96_MD5,
    USM_AUTH_HMAC96_SHA,
    USM_AUTH_HMAC128_SHA224,
    USM_AUTH_HMAC192_SHA256,
    USM_AUTH_HMAC256_SHA384,
    USM_AUTH_HMAC384_SHA512,
    USM_PRIV_CBC56_DES,
    USM_PRIV_CFB128_AES,
    USM_PRIV_CFB192_AES,
    USM_PRIV_CFB256_AES,
    CommunityData,
    ContextData,
    ObjectIdentity,
    ObjectType,
    SnmpEngine,
    Udp6TransportTarget,
    UdpTransportTarget,
    UsmUserData,
    bulk_cmd,
    get_cmd,
)
from pysnmp.proto import errind  # type: ignore[import-untyped]  # as above
from pysnmp.proto.rfc1902 import (  # type: ignore[import-untyped]  # as above
    Counter32,
    Counter64,
    Gauge32,
    Integer32,
    OctetString,
    TimeTicks,
)
from pysnmp.proto.rfc1905 import (  # type: ignore[import-untyped]  # as above
    EndOfMibView,
    NoSuchInstance,
    NoSuchObject,
)

from checks.check import Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.snmp_credentials import Credentials

Value = int | bytes
Rows = dict[tuple[int, ...], Value]
"""A column of a table: values by index, the numbers behind the column's own."""

_AUTH = {
    "SHA": USM_AUTH_HMAC96_SHA,
    "SHA-224": USM_AUTH_HMAC128_SHA224,
    "SHA-256": USM_AUTH_HMAC192_SHA256,
    "SHA-384": USM_AUTH_HMAC256_SHA384,
    "SHA-512": USM_AUTH_HMAC384_SHA512,
    "MD5": USM_AUTH_HMAC96_MD5,
}
_PRIV = {
    "AES": USM_PRIV_CFB128_AES,
    "AES-192": USM_PRIV_CFB192_AES,
    "AES-256": USM_PRIV_CFB256_AES,
    "DES": USM_PRIV_CBC56_DES,
}
_OBJECTS_AT_ONCE = 16
_ROWS_AT_ONCE = 25
_MOST_ROWS = 1024
_NOTHING = (NoSuchObject, NoSuchInstance, EndOfMibView)
_REFUSALS: dict[type, str] = {
    errind.UnknownUserName: "the device does not know this user",
    errind.WrongDigest: "the device does not accept the authentication password or protocol",
    errind.AuthenticationFailure: "the device does not accept the authentication password or protocol",
    errind.DecryptionError: "the device cannot decrypt: another priv_password or priv_protocol",
    errind.UnsupportedSecurityLevel: "the device does not accept this level of security for the user",
    errind.UnknownEngineID: "the device does not tell its engine id, so SNMPv3 cannot begin",
}


class Session:
    """A conversation with one device."""

    def __init__(self, credentials: Credentials, patience_seconds: float, attempts: int) -> None:
        """Take who we are, and how long and how often each question is asked."""
        self._engine = SnmpEngine()
        self._who = _who(credentials)
        self._unsaid = "community" if credentials.user is None else "priv_password" if credentials.priv_password else ""
        self._patience, self._attempts = patience_seconds, attempts
        self._target: Any = None
        self.first_seconds: float | None = None

    async def open(self, address: str, port: int, *, v6: bool) -> None:
        """Name the device."""
        transport = Udp6TransportTarget if v6 else UdpTransportTarget
        self._target = await transport.create((address, port), timeout=self._patience, retries=self._attempts - 1)

    def close(self) -> None:
        """Give back the socket."""
        self._engine.close_dispatcher()

    async def get(self, oids: Sequence[str]) -> dict[str, Value]:
        """Return the values of single objects, by their numbers; those that the device does not have are absent."""
        found: dict[str, Value] = {}
        for first in range(0, len(oids), _OBJECTS_AT_ONCE):
            part = oids[first : first + _OBJECTS_AT_ONCE]
            objects = [ObjectType(ObjectIdentity(oid)) for oid in part]
            began = time.perf_counter()
            answer = await self._bounded(
                get_cmd(self._engine, self._who, self._target, ContextData(), *objects, lookupMib=False)
            )
            if self.first_seconds is None:
                self.first_seconds = time.perf_counter() - began
            for oid, (_, value) in zip(part, answer, strict=False):
                known = _value(value)
                if known is not None:
                    found[oid] = known
        return found

    async def column(self, oid: str) -> Rows:
        """Return a column of a table, 1024 rows at most; a device that goes in circles is stopped."""
        column = _numbers(oid)
        last, rows = column, Rows()
        while len(rows) < _MOST_ROWS:
            where = ObjectType(ObjectIdentity(".".join(map(str, last))))
            question = bulk_cmd(
                self._engine, self._who, self._target, ContextData(), 0, _ROWS_AT_ONCE, where, lookupMib=False
            )
            answer = await self._bounded(question)
            if not answer:
                return rows
            for name, value in answer:
                at = tuple(name)
                if at[: len(column)] != column or at <= last or isinstance(value, EndOfMibView):
                    return rows
                last = at
                known = _value(value)
                if known is not None:
                    rows[at[len(column) :]] = known
        return rows

    async def _bounded(self, question: Any) -> Sequence[tuple[Any, Any]]:
        """Wait for an answer; `Unreachable` says why there is none. pysnmp's own timer is not trusted alone."""
        try:
            async with asyncio.timeout(self._patience * self._attempts * 3 + 1):
                indication, status, index, answer = await question
        except TimeoutError:
            raise Unreachable(self._silence()) from None
        if indication is not None:
            if isinstance(indication, errind.RequestTimedOut):
                raise Unreachable(self._silence())
            words = next((words for kind, words in _REFUSALS.items() if isinstance(indication, kind)), None)
            raise Unreachable(words or f"the device refuses: {indication}")
        if status:
            raise Unreachable(f"the device refuses: {status.prettyPrint()} (object {index})")
        return list(answer)

    def _silence(self) -> str:
        attempts = "1 attempt" if self._attempts == 1 else f"{self._attempts} attempts"
        words = f"no answer by SNMP in {attempts} of {self._patience:g} s"
        return f"{words}, or it does not accept the {self._unsaid}: devices do not say so" if self._unsaid else words


def _who(credentials: Credentials) -> Any:
    if credentials.user is None:
        return CommunityData(credentials.community, mpModel=1)  # noqa: S508  (what the device speaks is the user's to say)
    keys: dict[str, Any] = {}
    if credentials.auth_password:
        keys |= {"authKey": credentials.auth_password, "authProtocol": _AUTH[credentials.auth_protocol]}
    if credentials.priv_password:
        keys |= {"privKey": credentials.priv_password, "privProtocol": _PRIV[credentials.priv_protocol]}
    return UsmUserData(credentials.user, **keys)  # noqa: S509  (as above)


def _numbers(oid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in oid.split("."))


def _value(value: Any) -> Value | None:
    """Return a number or text; None for what the device does not have, and for kinds that are neither."""
    if isinstance(value, _NOTHING):
        return None
    if isinstance(value, Integer32 | Counter32 | Counter64 | Gauge32 | TimeTicks):
        return int(value)
    if isinstance(value, OctetString):
        return bytes(value)
    return None
