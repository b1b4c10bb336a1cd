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
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nftsocket import Cmp, Meta, Regs
from pyroute2.nftables.expressions import genex, masq
from pyroute2.nftables.main import NFTables

# linux/netfilter.h, linux/netfilter_ipv4.h, linux/netfilter/nf_tables.h, linux/if.h
NFPROTO = {4: 2, 6: 10}
NF_IP_PRI_NAT_SRC = 100
NFT_TABLE_F_OWNER = 2
NFT_PAYLOAD_NETWORK_HEADER = 1
NFT_RANGE_EQ = 0
IFNAMSIZ = 16

SOURCE = {4: (12, 4), 6: (8, 16)}  # octets: where the source address is in a header, and how long

CHAIN = "postrouting"
Expression = dict[str, Any]
Network = IPv4Network | IPv6Network


class Masquerade:
    """The table; it exists from the creation of this object until `close`.

    Since Linux 5.12 the table is owned by our netlink socket: `nft flush ruleset`, the first step of a firewall reload,
    does not touch it, and the kernel removes it when this process ends, however it ends.
    """

    def __init__(self, table: str, sources: Sequence[Network], interfaces: Iterable[str]) -> None:
        """Create the table, replacing one that a killed process left: every combination of source prefix and outgoing
        interface is masqueraded. The sources are of one family, and there is one. Raises NetlinkError."""
        self._table, self.version = table, sources[0].version
        # pyroute2 has a socket for each thread, and the table lives as long as its socket: so it has its own thread.
        self._thread = ThreadPoolExecutor(1, table)
        try:
            self._nft: NFTables = self._thread.submit(
                _set_up, self.version, table, _rules(sources, interfaces)
            ).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def follow(self, sources: Sequence[Network], interfaces: Iterable[str]) -> None:
        """Masquerade these sources, of the same family, on these interfaces instead, from one packet to the next.
        Raises NetlinkError."""
        self._thread.submit(_replace, self._nft, self._table, _rules(sources, interfaces)).result()

    def stands(self) -> bool:
        """Whether the table is there; where the kernel knows no owners, others can remove it. Raises NetlinkError."""
        return self._thread.submit(_stands, self._nft, self._table).result()

    def close(self) -> None:
        """Remove the table. May be called once; raises NetlinkError."""
        self._thread.submit(self._nft.close).result()
        self._thread.shutdown()
        remove_table(self._table)


def _set_up(version: int, table: str, rules: Iterable[Iterable[Expression]]) -> NFTables:
    """Create the table with these rules. Closing the returned socket removes the table where the kernel knows owners
    (Linux 5.12)."""
    nft = NFTables(nfgen_family=NFPROTO[version])
    try:
        nft.table("add", name=table)  # so that there is a table to delete
        nft.table("del", name=table)
        try:
            nft.table("add", kwarg={"name": table, "flags": NFT_TABLE_F_OWNER})
        except NetlinkError as error:
            if error.code not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
            nft.table("add", name=table)
        nft.chain("add", table=table, name=CHAIN, hook="postrouting", type="nat", priority=NF_IP_PRI_NAT_SRC)
        _add(nft, table, rules)
    except BaseException:
        nft.close()
        raise
    return nft


def _add(nft: NFTables, table: str, rules: Iterable[Iterable[Expression]]) -> None:
    for rule in rules:
        nft.rule("add", table=table, chain=CHAIN, expressions=(rule, masq()))


def _replace(nft: NFTables, table: str, rules: Iterable[Iterable[Expression]]) -> None:
    """These rules in place of all others of the chain, as one transaction."""
    nft.begin()
    nft.rule("del", table=table, chain=CHAIN)  # without a handle: all of them
    _add(nft, table, rules)
    nft.commit()


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
    return [(*_leaves_by(interface), *_comes_from(source)) for interface, source in product(interfaces, sources)]


def _leaves_by(interface: str) -> list[Expression]:
    name = _data(interface.encode().ljust(IFNAMSIZ, b"\0"))
    return [
        genex("meta", {"dreg": Regs.NFT_REG_1, "key": Meta.NFT_META_OIFNAME}),
        genex("cmp", {"sreg": Regs.NFT_REG_1, "op": Cmp.NFT_CMP_EQ, "data": name}),
    ]


def _comes_from(source: Network) -> list[Expression]:
    at, octets = SOURCE[source.version]
    place = {"base": NFT_PAYLOAD_NETWORK_HEADER, "offset": at, "len": octets}
    load = genex("payload", {"dreg": Regs.NFT_REG_1, **place})
    first, last = _data(source[0].packed), _data(source[-1].packed)
    if source.prefixlen == source.max_prefixlen:
        return [load, genex("cmp", {"sreg": Regs.NFT_REG_1, "op": Cmp.NFT_CMP_EQ, "data": first})]
    return [
        load,
        genex("range", {"sreg": Regs.NFT_REG_1, "op": NFT_RANGE_EQ, "from_data": first, "to_data": last}),
    ]


def _data(value: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}
