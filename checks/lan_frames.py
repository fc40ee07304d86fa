"""What is asked of a LAN, frame by frame, and what its answers say: ARP, DHCP offers, IPv6 router advertisements.

scapy writes and reads the frames, so this belongs into a child process.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from checks.packet_filter import EQUAL, HEADER_LENGTH_TO_X, LOAD_BYTE, LOAD_HALF, LOAD_HALF_X, RETURN, attach

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from scapy.packet import Packet

LONGEST_FRAME = 2048

_BROADCAST = "ff:ff:ff:ff:ff:ff"
_ALL_ROUTERS, _ALL_ROUTERS_MAC = "ff02::2", "33:33:00:00:00:02"
_NOBODY = "0.0.0.0"
_DHCP_OFFER = 2
_NEIGHBOURS_HOPS = 255
_ETHERNET_AND_IPV4 = (6, 4)
_MOST_KEPT = 1000


@dataclass(slots=True)
class Heard:
    """Who said what: the MACs that claim each IPv4 address, DHCP servers and IPv6 routers as (address, MAC).

    `frames` counts what was looked at.
    """

    macs: dict[str, set[str]] = field(default_factory=dict)
    dhcp_servers: set[tuple[str, str]] = field(default_factory=set)
    routers: set[tuple[str, str]] = field(default_factory=set)
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: this interface's MAC, its IPv4 addresses and its link-local IPv6 address; the DHCP transaction."""

    mac: str
    addresses: Sequence[str]
    link_local: str | None
    transaction: int

    def frames(self, gateway: str | None, round_: int) -> list[bytes]:
        """Return the questions of a round.

        Some routers answer nobody in particular, and nobody answers who uses their own address: so the gateway is asked
        in our name and as a probe by turns.
        """
        asked = [self._arp(_NOBODY, address) for address in self.addresses]
        if gateway is not None:
            asked.append(self._arp(_NOBODY if round_ % 2 else next(iter(self.addresses), _NOBODY), gateway))
        return [*asked, self._discover(), self._solicit()]

    def _arp(self, sender: str, wanted: str) -> bytes:
        """Ask who has an address. Of nobody it is a probe (RFC 5227), which no neighbour writes into its table."""
        return bytes(Ether(src=self.mac, dst=_BROADCAST) / ARP(op=1, hwsrc=self.mac, psrc=sender, pdst=wanted))

    def _discover(self) -> bytes:
        """Ask for DHCP offers (RFC 2131), and leave it at that: without a request no lease is taken."""
        raw = bytes.fromhex(self.mac.replace(":", ""))
        ends = IP(src=_NOBODY, dst="255.255.255.255") / UDP(sport=68, dport=67)
        words = BOOTP(op=1, xid=self.transaction, flags=0x8000, chaddr=raw.ljust(16, b"\0"))
        options = DHCP(options=[("message-type", "discover"), ("param_req_list", [1, 3, 6]), "end"])
        return bytes(Ether(src=self.mac, dst=_BROADCAST) / ends / words / options)

    def _solicit(self) -> bytes:
        """Ask for router advertisements (RFC 4861)."""
        source = self.link_local or "::"
        packet = IPv6(src=source, dst=_ALL_ROUTERS, hlim=_NEIGHBOURS_HOPS) / ICMPv6ND_RS()
        if self.link_local:  # RFC 4861, 4.1: no such option where the source is unspecified
            packet /= ICMPv6NDOptSrcLLAddr(lladdr=self.mac)
        return bytes(Ether(src=self.mac, dst=_ALL_ROUTERS_MAC) / packet)


def take_in(heard: Heard, frame: bytes, transaction: int) -> None:
    """Note what a frame says. Whatever is malformed, or no answer to this, is passed over."""
    heard.frames += 1
    with contextlib.suppress(Exception):  # scapy raises whatever it likes on bytes of strangers
        packet = Ether(frame)
        if ARP in packet:
            _arp(heard, packet[ARP])
        elif DHCP in packet and packet[BOOTP].op == 2 and packet[BOOTP].xid == transaction:  # noqa: PLR2004  (a reply)
            _offer(heard, packet)
        elif ICMPv6ND_RA in packet and packet[IPv6].hlim == _NEIGHBOURS_HOPS and len(heard.routers) < _MOST_KEPT:
            heard.routers.add((packet[IPv6].src, packet[Ether].src))


def _arp(heard: Heard, arp: Packet) -> None:
    """Note a claim: whoever sends ARP from an address says that it is theirs (an ARP probe says nothing)."""
    if (arp.hwlen, arp.plen) != _ETHERNET_AND_IPV4:  # scapy would hand out bytes
        return
    if arp.psrc != _NOBODY and (arp.psrc in heard.macs or len(heard.macs) < _MOST_KEPT):
        macs = heard.macs.setdefault(arp.psrc, set())
        if len(macs) < _MOST_KEPT:
            macs.add(arp.hwsrc)


def _offer(heard: Heard, packet: Packet) -> None:
    options: dict[str, object] = dict(each[:2] for each in packet[DHCP].options if isinstance(each, tuple))
    if options.get("message-type") == _DHCP_OFFER and len(heard.dhcp_servers) < _MOST_KEPT:
        named = options.get("server_id")
        heard.dhcp_servers.add((named if isinstance(named, str) else packet[IP].src, packet[Ether].src))


def hear_only_answers(sock: socket.socket) -> None:
    """Let a packet socket hear ARP, UDP to a DHCP client and router advertisements: a busy LAN says much else."""
    attach(
        sock,
        (
            (LOAD_HALF, 0, 0, 12),  # the EtherType
            (EQUAL, 9, 0, 0x0806),  # ARP: take it
            (EQUAL, 0, 5, 0x0800),  # no IPv4: go on at IPv6
            (LOAD_BYTE, 0, 0, 23),  # IPv4: the protocol
            (EQUAL, 0, 7, 17),  # no UDP: drop it
            (HEADER_LENGTH_TO_X, 0, 0, 14),
            (LOAD_HALF_X, 0, 0, 16),  # the destination port
            (EQUAL, 3, 4, 68),  # of a DHCP client: take it, else drop it
            (EQUAL, 0, 3, 0x86DD),  # no IPv6: drop it
            (LOAD_BYTE, 0, 0, 54),  # the type of ICMPv6, where no other header comes before
            (EQUAL, 0, 1, 134),  # router advertisement: take it, else drop it
            (RETURN, 0, 0, LONGEST_FRAME),
            (RETURN, 0, 0, 0),
        ),
    )
