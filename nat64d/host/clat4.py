"""RFC 7335: who may use the addresses that are set aside for a CLAT."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from socket import if_indextoname

from nat64d.host.errors import HostError
from nat64d.host.wanted import CONTINUITY4


def refuse_second_user(ipv4: IPv4Network, others: Mapping[IPv4Address, int]) -> None:
    """RFC 7335 section 4: a host has one user of 192.0.0.0/29. `others`: its addresses, and the links they are on.
    Raises HostError."""
    if not ipv4.overlaps(CONTINUITY4):
        return
    for address, link in others.items():
        if address in CONTINUITY4:
            raise HostError(
                f"[clat] ipv4 = {ipv4[0]}: {if_indextoname(link)} has {address}, and only one program of a host may "
                f"use {CONTINUITY4} (RFC 7335): stop that one, or choose a private address."
            )
