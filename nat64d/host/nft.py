"""Masquerade: a separate nftables table that replaces pool4, or [clat] ipv6 in a table of family ip6, by the address of
the outgoing interface.

table ip nat64d_nat64 {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth0" ip saddr 169.254.64.0-169.254.64.15 masquerade
    }
}
"""

import errno
import os
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Any, NamedTuple

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nftsocket import Cmp, Meta, Regs
from pyroute2.nftables.expressions import genex, masq
from pyroute2.nftables.main import NFTables

# linux/netfilter.h, linux/netfilter_ipv4.h, linux/netfilter/nf_tables.h, linux/if.h
NFPROTO = {4: 2, 6: 10}
NF_IP_PRI_NAT_SRC, NF_IP_PRI_MANGLE = 100, -150
NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST = 2, 4
NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER = 1, 2
NFT_RANGE_EQ = NFT_CT_STATE = 0
IFNAMSIZ = 16

SOURCE = {4: (12, 4), 6: (8, 16)}  # octets: where the source address is in a header, and how long

Expression = dict[str, Any]
Rules = Sequence[Sequence[Expression]]
Network = IPv4Network | IPv6Network


class Chain(NamedTuple):
    """A base chain."""

    name: str
    hook: str
    type: str
    priority: int


POSTROUTING = Chain("postrouting", "postrouting", "nat", NF_IP_PRI_NAT_SRC)
PREROUTING = Chain("prerouting", "prerouting", "filter", NF_IP_PRI_MANGLE)


class OwnTable:
    """A table of ours with one chain; it exists from the creation of this object until `close`.

    Since Linux 5.12 the table is owned by our netlink socket: `nft flush ruleset`, the first step of a firewall reload,
    does not touch it, and the kernel removes it when this process ends, however it ends. One that `lasts` outlives the
    process since Linux 6.9, and where the kernel knows no owners.
    """

    def __init__(self, version: int, name: str, chain: Chain, rules: Rules, lasts: bool = False) -> None:
        """Create the table, replacing one that a process before has left. Raises NetlinkError."""
        self.name, self.version, self._chain = name, version, chain
        # pyroute2 has a socket for each thread, and the table lives as long as its socket: so it has its own thread.
        self._thread = ThreadPoolExecutor(1, name)
        try:
            self._nft: NFTables = self._thread.submit(_set_up, version, name, chain, rules, lasts).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def use(self, rules: Rules) -> None:
        """Have these rules instead, from one packet to the next. Raises NetlinkError."""
        self._thread.submit(replace_rules, self._nft, self.name, self._chain, rules).result()

    def stands(self) -> bool:
        """Whether the table is there; where the kernel knows no owners, others can remove it. Raises NetlinkError."""
        return self._thread.submit(_stands, self._nft, self.name).result()

    def let_go(self) -> None:
        """Close the socket: one that lasts stays. May be called once; raises NetlinkError."""
        self._thread.submit(self._nft.close).result()
        self._thread.shutdown()

    def close(self) -> None:
        """Remove the table. May be called once; raises NetlinkError."""
        self.let_go()
        remove_table(self.name)


class Masquerade(OwnTable):
    """The table that masquerades."""

    def __init__(self, table: str, sources: Sequence[Network], interfaces: Iterable[str]) -> None:
        """Every combination of source prefix and outgoing interface is masqueraded. The sources are of one family, and
        there is one. Raises NetlinkError."""
        super().__init__(sources[0].version, table, POSTROUTING, _rules(sources, interfaces))

    def follow(self, sources: Sequence[Network], interfaces: Iterable[str]) -> None:
        """Masquerade these sources, of the same family, on these interfaces instead, from one packet to the next.
        Raises NetlinkError."""
        self.use(_rules(sources, interfaces))


def _set_up(version: int, table: str, chain: Chain, rules: Rules, lasts: bool) -> NFTables:
    """Create the table with these rules; one that lasts, and is there, goes on with these."""
    nft = NFTables(nfgen_family=NFPROTO[version])
    try:
        if not lasts:
            nft.table("add", name=table)  # so that there is a table to delete
            nft.table("del", name=table)
        add_table(nft, table, lasts)
        nft.chain("add", table=table, **chain._asdict())
        if lasts:
            replace_rules(nft, table, chain, rules)
        else:
            _add(nft, table, chain, rules)
    except BaseException:
        nft.close()
        raise
    return nft


def add_table(nft: NFTables, table: str, lasts: bool) -> None:
    """Make a table that belongs to this socket, where the kernel knows owners, or take over one that lasts."""
    try:
        flags = NFT_TABLE_F_OWNER | (NFT_TABLE_F_PERSIST if lasts else 0)
        nft.table("add", kwarg={"name": table, "flags": flags})
    except NetlinkError as error:
        if error.code not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        nft.table("add", name=table)


def _add(nft: NFTables, table: str, chain: Chain, rules: Rules) -> None:
    for rule in rules:
        nft.rule("add", table=table, chain=chain.name, expressions=(rule,))


def replace_rules(nft: NFTables, table: str, chain: Chain, rules: Rules) -> None:
    """These rules in place of all others of the chain, as one transaction. Raises NetlinkError."""
    nft.begin()
    nft.rule("del", table=table, chain=chain.name)  # without a handle: all of them
    _add(nft, table, chain, rules)
    nft.commit()
    own = (table, chain.name)
    there = ((one.get_attr("NFTA_RULE_TABLE"), one.get_attr("NFTA_RULE_CHAIN")) for one in nft.get_rules())
    if sum(one == own for one in there) != len(rules):
        raise NetlinkError(errno.EINVAL, os.strerror(errno.EINVAL))  # a transaction has no answer


def _stands(nft: NFTables, table: str) -> bool:
    return any(one.get_attr("NFTA_TABLE_NAME") == table for one in nft.get_tables())


def table_of(tun: str) -> str:
    """The name of our table for a device; rules of ours in chains of others have it as their comment."""
    return f"nat64d_{tun}"


def remove_table(table: str) -> None:
    """Remove the table of that name, in either family, unless a living process owns it; raises NetlinkError."""
    for family in NFPROTO.values():
        with NFTables(nfgen_family=family) as nft:
            try:
                nft.table("del", name=table)
            except NetlinkError as error:
                if error.code not in {errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT}:  # no such, or no nftables
                    raise


def _rules(sources: Iterable[Network], interfaces: Iterable[str]) -> list[tuple[Expression, ...]]:
    pairs = product(interfaces, sources)
    return [(*_leaves_by(interface), *_comes_from(source), *masq()) for interface, source in pairs]


def _leaves_by(interface: str) -> list[Expression]:
    load = genex("meta", {"dreg": Regs.NFT_REG_1, "key": Meta.NFT_META_OIFNAME})
    return [load, equals(interface.encode().ljust(IFNAMSIZ, b"\0"))]


def _comes_from(source: Network) -> list[Expression]:
    load = payload(NFT_PAYLOAD_NETWORK_HEADER, *SOURCE[source.version])
    if source.prefixlen == source.max_prefixlen:
        return [load, equals(source[0].packed)]
    return [load, between(source[0].packed, source[-1].packed)]


def payload(header: int, at: int, octets: int, register: int = Regs.NFT_REG_1) -> Expression:
    """Load what is there in a packet."""
    loaded: Expression = genex("payload", {"dreg": register, "base": header, "offset": at, "len": octets})
    return loaded


def of_protocol(number: int) -> list[Expression]:
    """Packets of a protocol."""
    return [genex("meta", {"dreg": Regs.NFT_REG_1, "key": Meta.NFT_META_L4PROTO}), equals(bytes([number]))]


def see_state() -> Expression:
    """Let the kernel track connections before what follows."""
    looked: Expression = genex("ct", {"dreg": Regs.NFT_REG_1, "key": NFT_CT_STATE})
    return looked


def set_mark(mark: int) -> list[Expression]:
    """Mark the packet."""
    value = genex("immediate", {"dreg": Regs.NFT_REG_1, "data": data(struct.pack("=I", mark))})
    return [value, genex("meta", {"key": Meta.NFT_META_MARK, "sreg": Regs.NFT_REG_1})]


def equals(value: bytes) -> Expression:
    """What was loaded is this."""
    compared: Expression = genex("cmp", {"sreg": Regs.NFT_REG_1, "op": Cmp.NFT_CMP_EQ, "data": data(value)})
    return compared


def between(first: bytes, last: bytes) -> Expression:
    """What was loaded is one of these."""
    ends = {"from_data": data(first), "to_data": data(last)}
    compared: Expression = genex("range", {"sreg": Regs.NFT_REG_1, "op": NFT_RANGE_EQ, **ends})
    return compared


def data(value: bytes) -> dict[str, Any]:
    """A value in an expression."""
    return {"attrs": [("NFTA_DATA_VALUE", value)]}
