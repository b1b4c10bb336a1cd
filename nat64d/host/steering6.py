"""What endpoints of services send to IPv6 clients is led to our device, with [services] ipv6_front = "dnat": clients
are seen as they are, so answers are addressed to them, and would go there by themselves.

table ip6 nat64d_nat64_services {
    set endpoints {
        type ipv6_addr . inet_proto . inet_service
        elements = { 2001:db8:1::11 . tcp . 8443 }
    }
    chain prerouting {
        type filter hook prerouting priority mangle; policy accept;
        ct state …                                                              # puts fragments together
        iifname "nat64" return                                                  # what comes back from us
        meta l4proto tcp socket transparent … return                            # to a program of this host that has
        meta l4proto udp socket wildcard 0 return                               # connected: never forwarded by Linux
        ip6 saddr . meta l4proto . th sport @endpoints meta mark set 0x64640003
        icmpv6 type 1-4 … @endpoints meta mark set 0x64640003                   # about a packet to one of them
    }
    chain output {                                                              # of endpoints on this host, and what it
        type route hook output priority mangle; policy accept;                  # says itself about packets to endpoints
        …
    }
}

ct state … and the mark are as in steering.py, which has the rule that leads what is marked.
"""

import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv6Address
from socket import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.nfnetlink.nftsocket import (
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    Meta,
    Regs,
    nft_set_elem_list_msg,
    nft_set_msg,
)
from pyroute2.nftables.expressions import genex, verdict
from pyroute2.nftables.main import NFTables

from nat64d.host import nft

if TYPE_CHECKING:
    from nat64d.config.models import Config

SET = "endpoints"
PROTOCOLS = {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP}
OUTPUT = nft.Chain("output", "output", "route", nft.NF_IP_PRI_MANGLE)
NFT_RETURN, NFT_SOCKET_TRANSPARENT, NFT_SOCKET_WILDCARD = -5, 0, 2  # linux/netfilter/nf_tables.h
# nft shows what a set is of by the numbers of its types, six bits each: ipv6_addr . inet_proto . inet_service
KEY_TYPE, KEY_OCTETS = 8 << 12 | 12 << 6 | 13, 24
ERRORS = 1, 4  # first and last type of the ICMPv6 errors that quote a packet
# Octets of an ICMPv6 error: the IPv6 header that it quotes, in it the next header and the destination, and a port.
QUOTED, NEXT_HEADER, DESTINATION, BEHIND, DESTINATION_PORT = 8, 6, 24, 40, 2
SOURCE = 8  # octet of an IPv6 header
PORT = Regs.NFT_REG32_05  # behind an address and a protocol
AT_ONCE = 500  # elements in a message: one of 64 KiB has room for more


@dataclass(frozen=True)
class End:
    """A port of an endpoint of a service."""

    address: IPv6Address
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}"

    @property
    def key(self) -> bytes:
        """It as an element of the set; each part fills up whole registers."""
        return self.address.packed + struct.pack(">B3xH2x", PROTOCOLS[self.protocol], self.port)


def ends_of(config: "Config") -> tuple[End, ...]:
    """The ports whose packets have to come to our device."""
    if config.services.ipv6_front != "dnat" or not config.host.routes:
        return ()
    found = {
        End(endpoint.end6.address, protocol, endpoint.end6.first)
        for service in config.service
        if service.end6
        for endpoint in service.endpoints
        for protocol in service.protocols
    }
    return tuple(sorted(found, key=lambda end: end.key))


class Marking:
    """The table: it stands from the creation of this object on, as nft.OwnTable, with those ends in its set."""

    def __init__(self, name: str, tun: str, mark: int, ends: tuple[End, ...]) -> None:
        """Mark what these send, unless it comes from the device. Raises NetlinkError."""
        self.name, self.mark, self.ends = name, mark, ends
        self._thread = ThreadPoolExecutor(1, name)  # pyroute2 has a socket for each thread
        try:
            self._nft: NFTables = self._thread.submit(_set_up, name, tun, mark, ends).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def follow(self, ends: tuple[End, ...]) -> None:
        """Mark what these send instead. Raises NetlinkError."""
        came, gone = set(ends) - set(self.ends), set(self.ends) - set(ends)
        self._thread.submit(_change, self._nft, self.name, came, gone).result()
        self.ends = ends

    def stands(self) -> bool:
        """Whether the table is there. Raises NetlinkError."""
        return self._thread.submit(_stands, self._nft, self.name).result()

    def let_go(self) -> None:
        """Close the socket: the table stays. May be called once."""
        self._thread.submit(self._nft.close).result()
        self._thread.shutdown()


def table_of(tun: str) -> str:
    """The name of the nftables table for a device."""
    return f"{nft.table_of(tun)}_services"


def _set_up(name: str, tun: str, mark: int, ends: tuple[End, ...]) -> NFTables:
    """Create the table, in place of one that a process before has left."""
    table = NFTables(nfgen_family=nft.NFPROTO[6])
    try:
        nft.add_table(table, name, lasts=True)
        _ask(table, nft_set_msg, NFT_MSG_NEWSET, **_named(name), KEY_TYPE=KEY_TYPE, KEY_LEN=KEY_OCTETS, ID=1)
        _elements(table, NFT_MSG_DELSETELEM, name, None)
        _elements(table, NFT_MSG_NEWSETELEM, name, ends)
        for chain in (nft.PREROUTING, OUTPUT):
            table.chain("add", table=name, **chain._asdict())
            nft.replace_rules(table, name, chain, list(rules(chain, tun, mark)))
    except BaseException:
        table.close()
        raise
    return table


def _change(table: NFTables, name: str, came: Iterable[End], gone: Iterable[End]) -> None:
    _elements(table, NFT_MSG_NEWSETELEM, name, came)
    _elements(table, NFT_MSG_DELSETELEM, name, gone)


def _named(name: str) -> dict[str, Any]:
    return {"TABLE": name, "NAME": SET}


def _ask(table: NFTables, message: Any, number: int, **attributes: Any) -> None:
    """Send a message that pyroute2 has no function for that works with a key of several parts."""
    named = {f"{message.prefix}{key}": value for key, value in attributes.items()}
    command = "del" if number == NFT_MSG_DELSETELEM else "add"
    table._run_with_cleanup(table.asyncore._command, message, {command: number}, command, named)  # noqa: SLF001


def _elements(table: NFTables, number: int, name: str, ends: Iterable[End] | None) -> None:
    """Add or remove elements of the set; None: all there are."""
    where = {"TABLE": name, "SET": SET}
    if ends is None:
        _ask(table, nft_set_elem_list_msg, number, **where)
        return
    keys = [end.key for end in ends]
    for at in range(0, len(keys), AT_ONCE):
        elements = [{"attrs": [("NFTA_SET_ELEM_KEY", nft.data(key))]} for key in keys[at : at + AT_ONCE]]
        _ask(table, nft_set_elem_list_msg, number, **where, ELEMENTS=elements)


def _stands(table: NFTables, name: str) -> bool:
    return any(one.get_attr("NFTA_TABLE_NAME") == name for one in table.get_tables())


def rules(chain: nft.Chain, tun: str, mark: int) -> Iterator[list[nft.Expression]]:
    """The rules of a chain."""
    yield [nft.see_state()]
    name = tun.encode().ljust(nft.IFNAMSIZ, b"\0")
    device = genex("meta", {"dreg": Regs.NFT_REG_1, "key": Meta.NFT_META_IIFNAME})
    yield [device, nft.equals(name), *verdict(NFT_RETURN)]
    if chain is nft.PREROUTING:
        yield [*nft.of_protocol(IPPROTO_TCP), _socket(NFT_SOCKET_TRANSPARENT), *verdict(NFT_RETURN)]
        yield [*nft.of_protocol(IPPROTO_UDP), _socket(NFT_SOCKET_WILDCARD), nft.equals(b"\0"), *verdict(NFT_RETURN)]
    marked = nft.set_mark(mark)
    in_set = genex("lookup", {"set": SET, "sreg": Regs.NFT_REG_1})
    protocol = genex("meta", {"dreg": Regs.NFT_REG_2, "key": Meta.NFT_META_L4PROTO})
    network, transport = nft.NFT_PAYLOAD_NETWORK_HEADER, nft.NFT_PAYLOAD_TRANSPORT_HEADER
    yield [nft.payload(network, SOURCE, 16), protocol, nft.payload(transport, 0, 2, PORT), in_set, *marked]
    first, last = (bytes([kind]) for kind in ERRORS)
    yield [
        *nft.of_protocol(IPPROTO_ICMPV6),
        *(nft.payload(transport, 0, 1), nft.between(first, last)),
        nft.payload(transport, QUOTED + DESTINATION, 16),
        nft.payload(transport, QUOTED + NEXT_HEADER, 1, Regs.NFT_REG_2),
        nft.payload(transport, QUOTED + BEHIND + DESTINATION_PORT, 2, PORT),
        *(in_set, *marked),
    ]


def _socket(key: int) -> nft.Expression:
    """Ends the rule where no socket of this host has the packet; else a property of it."""
    found: nft.Expression = genex("socket", {"dreg": Regs.NFT_REG_1, "key": key})
    return found
