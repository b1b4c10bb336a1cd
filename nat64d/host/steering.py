"""Ports that [[pool4]] shares with this host are led to our device: what comes to them is marked, and a rule before
that of the local table leads what is marked to a table with one route.

table ip nat64d_nat64_ports {
    chain prerouting {
        type filter hook prerouting priority mangle; policy accept;
        ct state …                                                              # puts fragments together
        ip daddr 198.51.100.1 udp dport 61001-65535 meta mark set 0x64640003
        ip daddr 198.51.100.1 icmp type { 3, 4, 11, 12 } … meta mark set …      # about a packet from one of the ports
    }
}
0:      from all fwmark 0x64640003 lookup 1684275203
0:      from all lookup local
"""

from collections.abc import Iterable, Iterator
from socket import if_nametoindex
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from nat64d.host import nft, own4, rtnetlink, steering6
from nat64d.host.journal import Change
from nat64d.host.own4 import Share
from nat64d.host.steering6 import End

if TYPE_CHECKING:
    from nat64d.config.models import Config
    from nat64d.host.undo import Undo

Led = Share | End
SHOWN = 8  # ports in a line
MARKS = 0x64640000  # of packets, and the number of the routing table: above it the index of the device
NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}
ECHO_REPLY, ECHO = 0, 8  # RFC 792
ERRORS = (3, 4, 11, 12)  # types that are about a packet, and quote it
NO_OPTIONS = b"\x45"  # first octet of an IPv4 header
# Octets of an ICMP message: its identifier; the IPv4 header that it quotes, in it protocol and source; what follows.
IDENTIFIER, QUOTED, PROTOCOL, SOURCE, BEHIND = 4, 8, 9, 12, 20
DESTINATION, DESTINATION_PORT = 16, 2  # octets of an IPv4 header, and of a TCP or UDP header


class Steering:
    """It stands from the creation of this object on, beyond the end of the process unless `close` is called."""

    def __init__(self, ip: Any, tun: str, device: int, shares: tuple[Share, ...]) -> None:
        """Lead these to the device of that name and index. Raises NetlinkError."""
        self.shares, self._mark = shares, mark_of(device)
        rtnetlink.lead_marked(ip, device, self._mark)
        self._table = nft.OwnTable(4, table_of(tun), nft.PREROUTING, list(rules(shares, self._mark)), lasts=True)

    def follow(self, shares: tuple[Share, ...]) -> None:
        """Lead these instead, from one packet to the next. Raises NetlinkError."""
        self._table.use(list(rules(shares, self._mark)))
        self.shares = shares

    def stands(self, ip: Any) -> bool:
        """Whether all of it is there. Raises NetlinkError."""
        return self._table.stands() and rtnetlink.is_marked_led(ip, self._mark)

    def let_go(self) -> None:
        """Leave it to the next process. May be called once; raises NetlinkError."""
        self._table.let_go()


def led(config: "Config") -> tuple[Led, ...]:
    """What has to be led to our device: shared ports, and what endpoints of services send."""
    return (*own4.shares(config), *steering6.ends_of(config))


def named(what: tuple[Led, ...]) -> str:
    """Them, or the first of them, for a line of the log."""
    return f"{', '.join(map(str, what[:SHOWN]))}{', …' if len(what) > SHOWN else ''}"


def remedy(what: Iterable[Led]) -> str:
    """What the kernel has to have for these, and what to do where it has not."""
    if any(isinstance(one, End) for one in what):
        modules = "CONFIG_NF_TABLES, CONFIG_NFT_CT and CONFIG_NFT_SOCKET, with IPv6"
        return f'the kernel needs {modules}; without them set [services] ipv6_front = "fullnat"'
    return "the kernel needs CONFIG_NF_TABLES and CONFIG_NFT_CT; without them give [[pool4]] other addresses"


def lead(undo: "Undo", ip: Any, tun: str, all_: tuple[Led, ...]) -> None:
    """Lead these to the device of that name, and nothing else. Raises NetlinkError, HostError."""
    shares = tuple(one for one in all_ if isinstance(one, Share))
    ends = tuple(one for one in all_ if isinstance(one, End))
    if shares:
        _lead_shares(undo, ip, tun, shares)
    if ends:
        _lead_ends(undo, ip, tun, ends)
    unwanted = [("steering", not shares), ("steering6", not ends)]
    undo.take_back(one for kind, is_gone in unwanted if is_gone for one in undo.noted(kind))


def _lead_ends(undo: "Undo", ip: Any, tun: str, ends: tuple[End, ...]) -> None:
    device = if_nametoindex(tun)
    mark, name = mark_of(device), steering6.table_of(tun)
    undo.note_once(Change("steering6", name, mark))
    rtnetlink.lead_marked(ip, device, mark, 6)
    if undo.marking and undo.marking.stands():
        undo.marking.follow(ends)
        return
    undo.let_go("steering6")
    undo.marking = steering6.Marking(name, tun, mark, ends)


def _lead_shares(undo: "Undo", ip: Any, tun: str, shares: tuple[Share, ...]) -> None:
    if undo.steering and undo.steering.stands(ip):
        undo.steering.follow(shares)
        return
    device = if_nametoindex(tun)
    undo.note_once(Change("steering", table_of(tun), mark_of(device)))
    undo.let_go("steering")
    undo.steering = Steering(ip, tun, device, shares)


def standing(undo: "Undo") -> tuple[Led, ...]:
    """What is led to the device, of either kind; nothing of it unless all that leads it is there. Raises
    NetlinkError."""
    if undo.steering is None and undo.marking is None:
        return ()
    shares, ends = undo.steering, undo.marking
    with IPRoute() as ip:
        of4 = shares.shares if shares and shares.stands(ip) else ()
        of6 = ends.ends if ends and ends.stands() and rtnetlink.is_marked_led(ip, ends.mark, 6) else ()
    return (*of4, *of6)


def table_of(tun: str) -> str:
    """The name of the nftables table for a device."""
    return f"{nft.table_of(tun)}_ports"


def mark_of(device: int) -> int:
    """The mark of packets for the device of that index."""
    return MARKS | device & 0xFFFF


def remove(ip: Any, table: str, mark: int, version: int = 4) -> None:
    """Lead nothing of that family any more. Raises NetlinkError."""
    nft.remove_table(table)
    rtnetlink.stop_leading_marked(ip, mark, version)


def rules(shares: Iterable[Share], mark: int) -> Iterator[list[nft.Expression]]:
    """The rules of the table. Echo requests stay with this host: they are for it."""
    yield [nft.see_state()]
    marked = nft.set_mark(mark)
    for share in shares:
        for name in share.protocols:
            yield [*_towards(share, name), *marked]
            yield from ([*_about(share, name, kind), *marked] for kind in ERRORS)


def _towards(share: Share, name: str) -> list[nft.Expression]:
    """Packets of a protocol to one of the ports; of ICMP, echo replies."""
    kind = [_transport(0, 1), nft.equals(bytes([ECHO_REPLY]))] if name == "icmp" else []
    at = IDENTIFIER if name == "icmp" else DESTINATION_PORT
    return [*_of(share, name), *kind, _transport(at, 2), _port(share)]


def _about(share: Share, name: str, kind: int) -> list[nft.Expression]:
    """ICMP errors of a type about packets of a protocol from one of the ports; of ICMP, about echo requests."""
    asked = [_transport(QUOTED + BEHIND, 1), nft.equals(bytes([ECHO]))] if name == "icmp" else []
    at = QUOTED + BEHIND + (IDENTIFIER if name == "icmp" else 0)
    return [
        *_of(share, "icmp"),
        *(_transport(0, 1), nft.equals(bytes([kind]))),
        *(_transport(QUOTED, 1), nft.equals(NO_OPTIONS)),
        *(_transport(QUOTED + PROTOCOL, 1), nft.equals(bytes([NUMBERS[name]]))),
        *(_transport(QUOTED + SOURCE, 4), nft.equals(share.address.packed)),
        *asked,
        *(_transport(at, 2), _port(share)),
    ]


def _of(share: Share, name: str) -> list[nft.Expression]:
    """Packets of a protocol to the address."""
    return [
        nft.payload(nft.NFT_PAYLOAD_NETWORK_HEADER, DESTINATION, 4),
        nft.equals(share.address.packed),
        *nft.of_protocol(NUMBERS[name]),
    ]


def _transport(at: int, octets: int) -> nft.Expression:
    return nft.payload(nft.NFT_PAYLOAD_TRANSPORT_HEADER, at, octets)


def _port(share: Share) -> nft.Expression:
    return nft.between(share.first.to_bytes(2, "big"), share.last.to_bytes(2, "big"))
