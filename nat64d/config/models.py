"""The configuration: one frozen model a section, one attribute a key, named as in the TOML file.

values.py and addresses.py have the types that pydantic does not.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from netaddr import IPSet
from pydantic import Field

from nat64d.config.addresses import (
    Domain,
    Host4,
    Host6,
    Hosts6,
    Listener,
    NameServer,
    OfInterface,
    Own6,
    PortRange,
    Ports,
    Prefix,
    Prefix4,
    Prefix6,
    Routable4,
    TranslationPrefix,
    Transport4,
    Transport6,
    split_transport4,
    split_transport6,
)
from nat64d.config.defaults import SOCKET
from nat64d.config.pool4 import Pool4, Section
from nat64d.config.services import Service, Services
from nat64d.config.values import (
    AbsolutePath,
    Flag,
    GroupName,
    InterfaceName,
    Plateaus,
    SocketFile,
    SocketMode,
    Unique,
    listed,
    whole,
)
from translator.static.blocks import LINK_LOCAL4, MAPPED, METADATA4

Protocol = Literal["tcp", "udp", "icmp"]
Protocols = Annotated[tuple[Protocol, ...], Field(min_length=1, description="a list of them"), Unique]
PortRanges = Annotated[tuple[PortRange, ...], listed("ports"), Unique]
Domains = Annotated[tuple[Domain, ...], listed("domain names"), Unique]
Prefixes = Annotated[tuple[Prefix, ...], listed("prefixes", 1), Unique]
Prefixes6 = Annotated[tuple[Prefix6, ...], listed("IPv6 prefixes"), Unique]

DAY = 86400
DENIED4 = (LINK_LOCAL4, *METADATA4)
MOST_BLOCKS = 64  # of a subscriber, all of which are looked through for a port
PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191 section 7


class Eam(Section):
    """A stateless mapping between an IPv4 and an IPv6 prefix (RFC 7757)."""

    ipv4: Prefix4
    ipv6: Prefix6


class Forward(Section):
    """Static BIB entries (RFC 6146 section 3.1), one for each protocol and port: packets to `ipv4` reach the IPv6 host
    at `ipv6`, the first port of the one to the first of the other and so on."""

    protocol: Protocol | Protocols
    ipv4: Transport4
    ipv6: Transport6

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """`protocol`, always as a tuple."""
        return (self.protocol,) if isinstance(self.protocol, str) else self.protocol

    @property
    def end4(self) -> Ports[IPv4Address]:
        """`ipv4` taken apart."""
        return split_transport4(self.ipv4)

    @property
    def end6(self) -> Ports[IPv6Address]:
        """`ipv6` taken apart."""
        return split_transport6(self.ipv6)


class Clat(Eam):
    """The customer side of 464XLAT (RFC 6877): IPv4 of `ipv4` goes to the provider's NAT64 as IPv6 of `ipv6`, which may
    be what an interface gives.

    `plat`: that NAT64's prefix; "discover" takes what routers announce (RFC 8781), or asks the resolver (RFC 7050).
    """

    ipv4: Routable4 = IPv4Network("192.0.0.1")  # RFC 7335
    ipv6: Own6
    plat: Literal["discover"] | TranslationPrefix = "discover"


class Tun(Section):
    """The device: `mtu` in octets; `ipv4` and `ipv6` are the translator's own addresses."""

    name: InterfaceName = "nat64"
    mtu: Annotated[int, whole(1280, 65535, "RFC 8200 section 5")] = 1500
    queues: Literal["auto"] | Annotated[int, whole(1, 256)] = "auto"
    offload: Flag = True
    ipv4: Host4 | None = None
    ipv6: Host6 = IPv6Address("fd6e:6174:3634::1")


class Host(Section):
    """What the daemon sets up on the host and takes back when it stops; `masquerade`: "auto", "off" or an interface;
    `firewall`: whether chains of others that drop its packets get a rule that accepts them."""

    routes: Flag = True
    sysctls: Flag = True
    masquerade: Literal["auto", "off"] | InterfaceName = "off"
    firewall: Literal["auto", "off"] = "off"


class Timeouts(Section):
    """Lifetimes in seconds (RFC 6146 section 4, RFC 7857 section 2.1), never below what the RFCs ask for."""

    udp: Annotated[int, whole(120, 14 * DAY, "RFC 6146 section 4, UDP_MIN")] = 300
    tcp_established: Annotated[int, whole(7440, 14 * DAY, "RFC 5382 REQ-5, 2 hours 4 minutes")] = 7440
    tcp_opening: Annotated[int, whole(6, 14 * DAY, "RFC 7857 section 2.1")] = 240
    tcp_closing: Annotated[int, whole(240, 14 * DAY, "RFC 5382 REQ-5, 4 minutes")] = 240
    tcp_transitory: Annotated[int, whole(240, 14 * DAY, "RFC 5382 REQ-5, 4 minutes")] = 240
    tcp_incoming_syn: Annotated[int, whole(6, 60, "RFC 5382 REQ-4, 6 seconds")] = 6
    icmp: Annotated[int, whole(60, 14 * DAY, "RFC 5508 REQ-2, 60 seconds")] = 60
    service_syn: Annotated[int, whole(6, 14 * DAY)] = 30
    service_udp: Annotated[int, whole(10, 14 * DAY)] = 60
    fragment: Annotated[int, whole(2, 60, "RFC 6146 section 4, FRAGMENT_MIN")] = 10


class Limits(Section):
    """Capacities; `subscriber` is the length of the IPv6 prefix that has one share of sessions and ports; a `per_host_`
    limit or `port_block` of 0 is none, `blocks` are those of a subscriber, `watermark` is in percent (0: none),
    `service_members` are endpoints, counted for each protocol, `fragments_memory` is in octets; 0 keeps no fragments,
    and sends no ICMP errors."""

    sessions: Annotated[int, whole(16, 16777216)] = 1048576
    subscriber: Annotated[int, whole(48, 128, "the length of a prefix")] = 64
    per_host_sessions: Annotated[int, whole(0, 16777216)] = 0
    per_host_ports: Annotated[int, whole(0, 65535)] = 0
    per_host_rate: Annotated[int, whole(0, 1000000)] = 0
    pairing: Literal["strict", "soft"] = "strict"
    port_block: Annotated[int, whole(0, 65535)] = 0
    blocks: Annotated[int, whole(1, MOST_BLOCKS)] = 8
    port_quarantine: Annotated[int, whole(0, DAY, "RFC 6888 REQ-8")] = 120
    fragments_memory: Annotated[int, whole(0, 1 << 30)] = 16777216
    service_members: Annotated[int, whole(0, 1048576)] = 131072
    watermark: Annotated[int, whole(0, 100, "percent")] = 90
    icmp_errors_per_second: Annotated[int, whole(0, 1000000)] = 100
    resets_per_second: Annotated[int, whole(0, 1000000)] = 10000


class Filtering(Section):
    """Who may send to a mapping from outside (RFC 6146 section 3.5); `reset_unknown`: seconds after sessions
    were lost, at a start, or ended by a reload or a request."""

    address_dependent: Flag = False
    drop_inbound_tcp: Flag = False
    drop_icmp_info: Flag = False
    check_rst: Flag = False
    rst_during_fin: Flag = False
    reset_unknown: Annotated[int, whole(0, 3600)] = 60


Mtu4 = Literal["auto"] | Annotated[int, whole(68, 65535, "RFC 791")]
Mtu6 = Literal["auto"] | Annotated[int, whole(1280, 65535, "RFC 8200 section 5")]


Mss = Literal["services"] | Flag | Annotated[int, whole(536, 65475, "RFC 9293 section 3.7.1")]


class ZeroChecksumPorts(Section):
    """Destination ports of UDP datagrams without checksum for which `udp_zero_checksum` does not hold, but this."""

    calculate: PortRanges = ()
    drop: PortRanges = ()
    forward: PortRanges = ()


class Translation(Section):
    """How headers are translated (RFC 7915); `mtu4`, `mtu6`: of the next hop, "auto" = from the routing table;
    `clamp_mss`: true = to what these, and the TUN device, carry; "services" = that of [[service]]s alone."""

    mtu4: Mtu4 = "auto"
    mtu6: Mtu6 = "auto"
    lowest_ipv6_mtu: Annotated[int, whole(1280, 65535, "RFC 8200 section 5")] = 1280
    udp_zero_checksum: Literal["calculate", "drop", "forward"] = "calculate"
    udp_zero_checksum_ports: ZeroChecksumPorts = ZeroChecksumPorts()
    traffic_class: Literal["copy"] | Annotated[int, whole(0, 255)] = "copy"
    mtu_plateaus: Plateaus = PLATEAUS
    rfc6791_ipv4: Annotated[tuple[Routable4, ...], listed("IPv4 prefixes"), Unique] = ()
    rfc6791_ipv6: Hosts6 | None = None
    eam_hairpin: Literal["intrinsic", "simple", "off"] = "intrinsic"
    clamp_mss: Mss = "services"
    denylist4: Annotated[tuple[Prefix4, ...], listed("IPv4 prefixes"), Unique] = DENIED4


class Dns64Range(Section):
    """IPv4 addresses that are written under a prefix of their own; without `pool6` they are not written at all."""

    ipv4: Prefix4
    pool6: TranslationPrefix | None = None


class Dns64Policy(Section):
    """What some clients get instead: the first policy that has the client decides."""

    clients: Prefixes
    pool6: TranslationPrefix | None = None
    synthesise: Flag = True
    filter_a: Flag = False
    exclude: Prefixes6 | None = None


class Dns64(Section):
    """DNS64 (RFC 6147): where it listens, whom it asks, whom it serves, which answers it replaces.

    `cache` is in octets, `rate` in queries a second and client (0: no limit), `processes` share the sockets.
    """

    listen: Annotated[tuple[Listener, ...], listed("transport addresses", 1), Unique] = ("[::]:53",)
    upstream: Literal["system"] | Annotated[tuple[NameServer, ...], listed("name servers", 1), Unique] = "system"
    clients: Literal["local"] | Prefixes = "local"
    exclude: Prefixes6 = (MAPPED,)
    exclude_names: Domains = ()
    force_names: Domains = ()
    ranges: tuple[Dns64Range, ...] = ()
    policy: tuple[Dns64Policy, ...] = ()
    dns46: Flag = False
    cache: Annotated[int, whole(0, 1 << 34)] = 64 << 20
    rate: Annotated[int, whole(0, 1000000)] = 1000
    processes: Annotated[int, whole(1, 64)] = 1


class Ra(Section):
    """Router advertisements of our own, which announce pool6 (RFC 8781), and the addresses `rdnss` as name servers (RFC
    8106); `interval`: seconds between two of them, at most."""

    interface: Annotated[tuple[InterfaceName, ...], listed("interface names", 1), Unique]
    interval: Annotated[int, whole(4, 1800, "RFC 4861 section 6.2.1")] = 600
    default_router: Flag = False
    rdnss: Annotated[tuple[Host6, ...], listed("IPv6 addresses"), Unique] = ()


class Api(Section):
    """The control socket with its mode and group ("" = the daemon's), and the read-only HTTP listener ("" = none) with
    further names it answers to."""

    socket: SocketFile = SOCKET
    mode: SocketMode = "0660"
    group: Literal[""] | GroupName = ""
    http: Literal[""] | Listener = "127.0.0.1:6464"
    hosts: Domains = ()


class State(Section):
    """Whether sessions outlive the daemon, and where; `file`: "auto" = Config.state_path."""

    file: Literal["auto"] | AbsolutePath = "auto"
    keep: Flag = True


class FastPath(Section):
    """Whether packets of established flows are translated in the kernel, and where already as they come in."""

    mode: Literal["off", "auto", "on"] = "off"
    interfaces: Annotated[tuple[InterfaceName, ...], listed("interface names"), Unique] = ()


class Log(Section):
    """What is logged, and how; `session_file` "" is the log itself, unless there is `ipfix`, whose templates are sent
    again after `ipfix_refresh` seconds; `accounting`: what each session carries is counted."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    sessions: Literal["off", "blocks", "mappings", "sessions"] = "off"
    session_file: Literal[""] | AbsolutePath = ""
    accounting: Flag = False
    ipfix: Literal[""] | Listener = ""
    ipfix_domain: Annotated[int, whole(0, (1 << 32) - 1)] = 0
    ipfix_refresh: Annotated[int, whole(1, 3600)] = 60
    format: Literal["text", "json"] = "text"


class Config(Section):
    """The whole file."""

    pool6: TranslationPrefix | None = None
    strict_well_known_prefix: Flag = True
    pool4: tuple[Pool4, ...] = ()
    eam: tuple[Eam, ...] = ()
    forward: tuple[Forward, ...] = ()
    service: tuple[Service, ...] = ()
    services: Services = Services()
    clat: Clat | None = None
    tun: Tun = Tun()
    host: Host = Host()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    filtering: Filtering = Filtering()
    translation: Translation = Translation()
    dns64: Dns64 | None = None
    ra: Ra | None = None
    api: Api = Api()
    fastpath: FastPath = FastPath()
    state: State = State()
    log: Log = Log()

    @property
    def mappings(self) -> tuple[Eam, ...]:
        """Whatever has an address in both families without sessions."""
        return (*self.eam, self.clat) if self.clat else self.eam

    @property
    def pool4_addresses(self) -> IPSet:
        """The addresses that hosts share."""
        return IPSet(pool.range for pool in self.pool4 if pool.known)

    @property
    def led4(self) -> IPSet:
        """Those of them that are led to the TUN device as a whole: no address of this host."""
        return IPSet(pool.range for pool in self.pool4 if not pool.interface)

    @property
    def shared4(self) -> IPSet:
        """The addresses of [[pool4]], [[forward]] and [[service]]: they stand for IPv6 hosts."""
        single = {str(forward.end4.address) for forward in self.forward}
        return self.pool4_addresses | IPSet(single | {str(address) for address in self.vips4})

    @property
    def vips4(self) -> set[IPv4Address]:
        """The IPv4 addresses of services."""
        return {service.end4.address for service in self.service if service.end4}

    @property
    def vips6(self) -> set[IPv6Address]:
        """Their IPv6 addresses."""
        return {service.end6.address for service in self.service if service.end6}

    @property
    def is_stateful(self) -> bool:
        """Whether there are sessions."""
        return bool(self.pool4 or self.forward or self.service)

    @property
    def prefixes(self) -> tuple[IPv6Network | None, ...]:
        """What IPv4 hosts are written under, by number: pool6, then the other client prefixes of services."""
        given = (self.services.client_prefix, *(service.client_prefix for service in self.service))
        return tuple(dict.fromkeys((self.pool6, *(prefix for prefix in given if prefix))))

    def client_prefix(self, service: Service) -> IPv6Network | None:
        """What the clients of a service are written under: one of `prefixes`."""
        return service.client_prefix or self.services.client_prefix or self.pool6

    @property
    def denied4(self) -> IPSet:
        """The addresses of denylist4 that nothing is translated to or from."""
        return IPSet(map(str, self.translation.denylist4)) - self.shared4

    @property
    def state_path(self) -> Path:
        """Where sessions are kept; by default each device has a file of its own."""
        return Path(f"/run/nat64d/{self.tun.name}.state" if self.state.file == "auto" else self.state.file)

    @property
    def clat_interface(self) -> str | None:
        """The interface that gives [clat] ipv6, as long as that is not known."""
        given = self.clat and self.clat.ipv6
        return given.interface if isinstance(given, OfInterface) else None

    def with_clat6(self, network: IPv6Network, behind: str | None) -> "Config":
        """The same, now that [clat] ipv6 is known: seen itself, or hidden behind the address of an interface."""
        assert self.clat is not None
        host = self.host.model_copy(update={"masquerade": behind}) if behind else self.host
        return self.model_copy(update={"clat": self.clat.model_copy(update={"ipv6": network}), "host": host})

    def with_pools(self, pool4: tuple[Pool4, ...]) -> "Config":
        """The same, now that the addresses are known that [[pool4]] has of interfaces."""
        return self if pool4 == self.pool4 else self.model_copy(update={"pool4": pool4})

    def with_plat(self, plat: IPv6Network) -> "Config":
        """The same, now that the prefix of the provider's NAT64 is known."""
        return self.model_copy(update={"pool6": plat})
