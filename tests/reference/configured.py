"""What the oracle takes from a `nat64d.config.Config` (it only reads attributes), and what it is told to expect."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network
from typing import Any

from tests.reference import errors, headers
from tests.reference.addresses import Eamt, Mapping
from tests.reference.bib import Bibs, Entry, Pool
from tests.reference.blocks import Blocks
from tests.reference.sessions import Policy
from tests.reference.stateless import Stateless
from tests.reference.transport import ZeroChecksums

UNLIMITED = 1 << 20


@dataclass(frozen=True)
class Scope:
    """What the implementation under test is expected to do by now; everything for the whole of the RFCs."""

    extensions: bool = True  # RFC 4884
    errors_need_session: bool = False  # stricter than RFC 6146 3.6, which asks for a BIB entry only
    # RFC 6146 3.8 by the letter goes through IPv4 and back: Identification keeps 16 bits, ICMP codes become coarser
    hairpins_directly: bool = False
    resets_until: float = (
        0.0  # seconds: until then a TCP segment of no session is answered with RST (RFC 9293 3.10.7.1)
    )
    quotes_later_fragments: bool = True  # RFC 7915 4.3: an error without state about a fragment that has no ports


def pool_of(row: Any) -> Pool:
    first, last = IPv4Address(row.range.first), IPv4Address(row.range.last)
    return Pool(first, last, *row.port_range, tuple(row.protocols), row.source, row.deterministic)


def entries_of(config: Any) -> list[Entry]:
    """RFC 6146 3.1: manually configured BIB entries."""
    ends = ((protocol, row.end4, row.end6) for row in config.forward for protocol in row.protocols)
    return [
        Entry(protocol, (end6.address, end6.first + k), (end4.address, end4.first + k), static=True)
        for protocol, end4, end6 in ends
        for k in range(end4.size)
    ]


def bibs_of(config: Any) -> Bibs:
    """The tables, with what is configured in them."""
    pools, limits = [pool_of(row) for row in config.pool4], config.limits
    blocks = Blocks(limits.port_block, limits.blocks, limits.port_quarantine, limits.subscriber, pools)
    return Bibs(
        pools,
        entries_of(config),
        config.limits.port_quarantine,
        is_strict=config.limits.pairing == "strict",
        subscriber=config.limits.subscriber,
        blocks=blocks if limits.port_block else None,
    )


def policy_of(config: Any) -> Policy:
    times = config.timeouts
    return Policy(
        lifetimes={
            "udp": times.udp,
            "icmp": times.icmp,
            "TCP_EST": times.tcp_established,
            "TCP_TRANS": times.tcp_transitory,
            "TCP_OPENING": times.tcp_opening,
            "TCP_CLOSING": times.tcp_closing,
            "TCP_INCOMING_SYN": times.tcp_incoming_syn,
            "service_syn": times.service_syn,
            "service_udp": times.service_udp,
        },
        address_dependent=config.filtering.address_dependent,
        drop_inbound_tcp=config.filtering.drop_inbound_tcp,
        sessions=config.limits.sessions,
        subscriber=config.limits.subscriber,
        per_host_sessions=config.limits.per_host_sessions,
        per_host_ports=config.limits.per_host_ports,
        per_host_rate=config.limits.per_host_rate,
        check_rst=config.filtering.check_rst,
        rst_during_fin=config.filtering.rst_during_fin,
    )


def stateless_of(config: Any, path: headers.Path, scope: Scope, bibs: Bibs) -> Stateless:
    """`[[eam]]` and what goes with it."""
    translation = config.translation
    return Stateless(
        pool6=config.pool6,
        eamt=Eamt([Mapping(row.ipv4, row.ipv6) for row in config.mappings]),
        path=path,
        plateaus=tuple(translation.mtu_plateaus),
        hairpin=translation.eam_hairpin,
        zero_checksums=zero_checksums_of(config),
        rfc6791_ipv4=tuple(translation.rfc6791_ipv4),
        rfc6791_ipv6=stand_in_of(config),
        own4=config.tun.ipv4 or errors.DUMMY_IPV4,
        strict=config.strict_well_known_prefix,
        is_customer=config.clat is not None,
        own_hosts=config.clat.ipv4 if config.clat else None,
        extensions=scope.extensions,
        quotes_later_fragments=scope.quotes_later_fragments,
        has_state=bool(config.pool4 or config.forward or config.service),
        is_ours=bibs.is_ours,
    )


def stand_in_of(config: Any) -> IPv6Network:
    """Which addresses IPv4 routers get that have none of their own."""
    if config.translation.rfc6791_ipv6 is not None:
        return config.translation.rfc6791_ipv6  # type: ignore[no-any-return]
    return IPv6Network(config.clat.ipv6[0] if config.clat else config.tun.ipv6)


def zero_checksums_of(config: Any) -> ZeroChecksums:
    """The usual, and the exceptions: each list of ports is of "53" and "1000-2000"."""
    exceptions = []
    for what in ("calculate", "drop", "forward"):
        for text in getattr(config.translation.udp_zero_checksum_ports, what):
            first, _, last = text.partition("-")
            exceptions.append((what, range(int(first), int(last or first) + 1)))
    return ZeroChecksums(config.translation.udp_zero_checksum, tuple(exceptions))


def path_of(config: Any) -> headers.Path:
    """Next-hop MTUs; "auto" is the kernel's to judge, behind the device."""
    translation = config.translation
    return headers.Path(
        mtu4=65535 if translation.mtu4 == "auto" else translation.mtu4,
        mtu6=UNLIMITED if translation.mtu6 == "auto" else translation.mtu6,
        lowest_ipv6_mtu=translation.lowest_ipv6_mtu,
        traffic_class=None if translation.traffic_class == "copy" else translation.traffic_class,
    )
