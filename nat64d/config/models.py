"""The configuration: one frozen model a section, one attribute a key, named as in the TOML file.

Each value is read by a reader of values.py or addresses.py, so that every complaint is in plain words.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic import PlainValidator as By

from nat64d.config.addresses import (
    SERVERS,
    address4,
    address6,
    domain,
    hosts4,
    hosts6,
    ipv4_range,
    listener,
    name_server,
    port_range,
    prefix,
    prefix4,
    prefix6,
    split_ipv4_range,
    split_port_range,
    split_transport4,
    split_transport6,
    translation_prefix,
    transport4,
    transport6,
)
from nat64d.config.values import (
    absolute_path,
    choice,
    either,
    flag,
    interface_name,
    label,
    plateaus,
    several,
    socket_file,
    whole,
)
from nat64d.defaults import SOCKET
from nat64d.dns64.policy import MAPPED

Protocol = Literal["tcp", "udp", "icmp"]
Shared = Literal["tcp", "udp", "icmp", "other"]
SHARED = choice("tcp", "udp", "icmp", "other")
Flag = Annotated[bool, By(flag)]

DAY = 86400
PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191 section 7

WELL_KNOWN = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
PRIVATE4 = tuple(  # RFC 1918, RFC 6598 (shared), RFC 3927 (link-local)
    IPv4Network(prefix)
    for prefix in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)


def required() -> Any:
    """A key without a default: when it is absent its reader gets None, and says what it expected."""
    return Field(default=None, validate_default=True)


class Section(BaseModel):
    """A table of the file: cannot be changed, has no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool4(Section):
    """IPv4 transport addresses that IPv6 hosts share; `source`: by which hosts (longest prefix wins), None = by all.

    For ICMP a port is a query identifier.
    """

    addresses: Annotated[str, By(ipv4_range)] = required()
    ports: Annotated[str, By(port_range)] = "1024-65535"
    protocols: Annotated[tuple[Shared, ...], By(several(SHARED, "protocols", least=1))] = ("tcp", "udp", "icmp")
    source: Annotated[IPv6Network | None, By(prefix6)] = None

    @property
    def first(self) -> IPv4Address:
        """The lowest address."""
        return split_ipv4_range(self.addresses)[0]

    @property
    def last(self) -> IPv4Address:
        """The highest address, itself included."""
        return split_ipv4_range(self.addresses)[1]

    @property
    def port_first(self) -> int:
        """The lowest port."""
        return split_port_range(self.ports)[0]

    @property
    def port_last(self) -> int:
        """The highest port, itself included."""
        return split_port_range(self.ports)[1]


class Eam(Section):
    """A stateless mapping between an IPv4 and an IPv6 prefix (RFC 7757)."""

    ipv4: Annotated[IPv4Network, By(prefix4)] = required()
    ipv6: Annotated[IPv6Network, By(prefix6)] = required()


class Forward(Section):
    """A static BIB entry (RFC 6146 section 3.1): packets to `ipv4` reach the IPv6 host at `ipv6`."""

    protocol: Annotated[Protocol, By(choice("tcp", "udp", "icmp"))] = required()
    ipv4: Annotated[str, By(transport4)] = required()
    ipv6: Annotated[str, By(transport6)] = required()

    @property
    def address4(self) -> IPv4Address:
        """The address of `ipv4`."""
        return split_transport4(self.ipv4)[0]

    @property
    def port4(self) -> int:
        """The port, or ICMP query identifier, of `ipv4`."""
        return split_transport4(self.ipv4)[1]

    @property
    def address6(self) -> IPv6Address:
        """The address of `ipv6`."""
        return split_transport6(self.ipv6)[0]

    @property
    def port6(self) -> int:
        """The port, or ICMP query identifier, of `ipv6`."""
        return split_transport6(self.ipv6)[1]


class Health(Section):
    """How the endpoints of a service are probed: seconds, and probes in a row until one counts as up or down."""

    tcp: Flag = True
    interval: Annotated[int, By(whole(1, 3600))] = 5
    timeout: Annotated[int, By(whole(1, 3600))] = 2
    rise: Annotated[int, By(whole(1, 100))] = 2
    fall: Annotated[int, By(whole(1, 100))] = 3


class Service(Section):
    """A transport address spread over IPv6 endpoints."""

    name: Annotated[str, By(label)] = required()
    protocol: Annotated[Literal["tcp", "udp"], By(choice("tcp", "udp"))] = required()
    ipv4: Annotated[str, By(transport4)] = required()
    ipv6: Annotated[str | None, By(transport6)] = None
    endpoints: Annotated[tuple[str, ...], By(several(transport6, "transport addresses"))] = required()
    affinity: Annotated[Literal["none", "client"], By(choice("none", "client"))] = "none"
    health: Health | None = None


class Clat(Eam):
    """The customer side of 464XLAT (RFC 6877): IPv4 of `ipv4` goes to the provider's NAT64 as IPv6 of `ipv6`.

    `plat`: that NAT64's prefix; "discover" asks the network's resolver for it (RFC 7050).
    """

    ipv4: Annotated[IPv4Network, By(hosts4)] = IPv4Network("192.0.0.1")  # RFC 7335
    ipv6: Annotated[IPv6Network, By(hosts6)] = required()
    plat: Annotated[IPv6Network | Literal["discover"], By(either("discover", translation_prefix))] = "discover"


class Tun(Section):
    """The device: `mtu` in octets; `ipv4` and `ipv6` are the translator's own addresses."""

    name: Annotated[str, By(interface_name)] = "nat64"
    mtu: Annotated[int, By(whole(1280, 65535, "RFC 8200 section 5"))] = 1500
    queues: Annotated[int | Literal["auto"], By(either("auto", whole(1, 256)))] = "auto"
    offload: Flag = True
    ipv4: Annotated[IPv4Address | None, By(address4)] = None
    ipv6: Annotated[IPv6Address, By(address6)] = IPv6Address("fd6e:6174:3634::1")


class Host(Section):
    """What the daemon sets up on the host and takes back when it stops; `masquerade`: "auto", "off" or an interface."""

    routes: Flag = True
    sysctls: Flag = True
    masquerade: Annotated[str, By(either("auto", either("off", interface_name)))] = "off"


class Timeouts(Section):
    """Lifetimes in seconds (RFC 6146 section 4), never below what the RFCs ask for."""

    udp: Annotated[int, By(whole(120, 14 * DAY, "RFC 6146 section 4, UDP_MIN"))] = 300
    tcp_established: Annotated[int, By(whole(7440, 14 * DAY, "RFC 5382 REQ-5, 2 hours 4 minutes"))] = 7440
    tcp_transitory: Annotated[int, By(whole(240, 14 * DAY, "RFC 5382 REQ-5, 4 minutes"))] = 240
    tcp_incoming_syn: Annotated[int, By(whole(6, 60, "RFC 5382 REQ-4, 6 seconds"))] = 6
    icmp: Annotated[int, By(whole(60, 14 * DAY, "RFC 5508 REQ-2, 60 seconds"))] = 60
    fragment: Annotated[int, By(whole(2, 60, "RFC 6146 section 4, FRAGMENT_MIN"))] = 10


class Limits(Section):
    """Capacities; a `per_host_` limit or block of 0 is none, `fragments_memory` is in octets; 0 keeps no fragments, and
    sends no ICMP errors."""

    sessions: Annotated[int, By(whole(16, 16777216))] = 1048576
    per_host_sessions: Annotated[int, By(whole(0, 16777216))] = 0
    per_host_ports: Annotated[int, By(whole(0, 65535))] = 0
    port_block: Annotated[int, By(whole(0, 65535))] = 0
    port_quarantine: Annotated[int, By(whole(0, DAY, "RFC 6888 REQ-8"))] = 120
    fragments_memory: Annotated[int, By(whole(0, 1 << 30))] = 16777216
    icmp_errors_per_second: Annotated[int, By(whole(0, 1000000))] = 100


class Filtering(Section):
    """Who may send to a mapping from outside (RFC 6146 section 3.5)."""

    address_dependent: Flag = False
    drop_inbound_tcp: Flag = False
    drop_icmp_info: Flag = False
    check_rst: Flag = False
    rst_during_fin: Flag = False


Mtu4 = Annotated[int | Literal["auto"], By(either("auto", whole(68, 65535, "RFC 791")))]
Mtu6 = Annotated[int | Literal["auto"], By(either("auto", whole(1280, 65535, "RFC 8200 section 5")))]
Prefixes = tuple[IPv4Network | IPv6Network, ...]
Prefixes6 = tuple[IPv6Network, ...]
Names = Annotated[tuple[str, ...], By(several(domain, "domain names"))]
Prefixes4 = Annotated[tuple[IPv4Network, ...], By(several(prefix4, "IPv4 prefixes"))]
ZeroChecksum = Literal["calculate", "drop", "forward"]
EamHairpin = Literal["intrinsic", "simple", "off"]


Ports = Annotated[tuple[str, ...], By(several(port_range, "ports"))]


class ZeroChecksumPorts(Section):
    """Destination ports of UDP datagrams without checksum for which `udp_zero_checksum` does not hold, but this."""

    calculate: Ports = ()
    drop: Ports = ()
    forward: Ports = ()


class Translation(Section):
    """How headers are translated (RFC 7915); `mtu4`, `mtu6`: of the next hop, "auto" = from the routing table."""

    mtu4: Mtu4 = "auto"
    mtu6: Mtu6 = "auto"
    lowest_ipv6_mtu: Annotated[int, By(whole(1280, 65535, "RFC 8200 section 5"))] = 1280
    udp_zero_checksum: Annotated[ZeroChecksum, By(choice("calculate", "drop", "forward"))] = "calculate"
    udp_zero_checksum_ports: ZeroChecksumPorts = ZeroChecksumPorts()
    traffic_class: Annotated[int | Literal["copy"], By(either("copy", whole(0, 255)))] = "copy"
    mtu_plateaus: Annotated[tuple[int, ...], By(plateaus)] = PLATEAUS
    rfc6791_ipv4: Annotated[tuple[IPv4Network, ...], By(several(hosts4, "IPv4 prefixes"))] = ()
    rfc6791_ipv6: Annotated[IPv6Network | None, By(hosts6)] = None
    eam_hairpin: Annotated[EamHairpin, By(choice("intrinsic", "simple", "off"))] = "intrinsic"
    clamp_mss: Flag = False
    denylist4: Prefixes4 = ()


class Dns64Range(Section):
    """IPv4 addresses that are written under a prefix of their own; without `pool6` they are not written at all."""

    ipv4: Annotated[IPv4Network, By(prefix4)] = required()
    pool6: Annotated[IPv6Network | None, By(translation_prefix)] = None


class Dns64Policy(Section):
    """What some clients get instead: the first policy that has the client decides."""

    clients: Annotated[Prefixes, By(several(prefix, "prefixes", least=1))] = required()
    pool6: Annotated[IPv6Network | None, By(translation_prefix)] = None
    synthesise: Flag = True
    filter_a: Flag = False
    exclude: Annotated[Prefixes6 | None, By(several(prefix6, "IPv6 prefixes"))] = None


class Dns64(Section):
    """DNS64 (RFC 6147): where it listens, whom it asks, whom it serves, which answers it replaces.

    `cache` is in octets, `rate` in queries a second and client (0: no limit), `processes` share the sockets.
    """

    listen: Annotated[tuple[str, ...], By(several(listener, "transport addresses", least=1))] = ("[::]:53",)
    upstream: Annotated[tuple[str, ...] | Literal["system"], By(either("system", several(name_server, SERVERS, 1)))] = (
        "system"
    )
    clients: Annotated[Prefixes | Literal["local"], By(either("local", several(prefix, "prefixes", least=1)))] = "local"
    exclude: Annotated[Prefixes6, By(several(prefix6, "IPv6 prefixes"))] = (MAPPED,)
    exclude_names: Names = ()
    force_names: Names = ()
    ranges: tuple[Dns64Range, ...] = ()
    policy: tuple[Dns64Policy, ...] = ()
    dns46: Flag = False
    cache: Annotated[int, By(whole(0, 1 << 34))] = 64 << 20
    rate: Annotated[int, By(whole(0, 1000000))] = 1000
    processes: Annotated[int, By(whole(1, 64))] = 1


class Api(Section):
    """The control socket, and the read-only HTTP listener ("" = none)."""

    socket: Annotated[str, By(socket_file)] = SOCKET
    http: Annotated[str, By(either("", listener))] = "127.0.0.1:6464"


class State(Section):
    """Whether sessions outlive the daemon, and where."""

    file: Annotated[str, By(absolute_path)] = "/run/nat64d/state"
    keep: Flag = False


class Log(Section):
    """What is logged, and how."""

    level: Annotated[str, By(choice("debug", "info", "warning", "error"))] = "info"
    sessions: Annotated[str, By(choice("off", "sessions", "port-blocks"))] = "off"
    format: Annotated[Literal["text", "json"], By(choice("text", "json"))] = "text"


class Config(Section):
    """The whole file."""

    pool6: Annotated[IPv6Network | None, By(translation_prefix)] = None
    strict_well_known_prefix: Flag = True
    pool4: tuple[Pool4, ...] = ()
    eam: tuple[Eam, ...] = ()
    forward: tuple[Forward, ...] = ()
    service: tuple[Service, ...] = ()
    clat: Clat | None = None
    tun: Tun = Tun()
    host: Host = Host()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    filtering: Filtering = Filtering()
    translation: Translation = Translation()
    dns64: Dns64 | None = None
    api: Api = Api()
    state: State = State()
    log: Log = Log()

    @property
    def mappings(self) -> tuple[Eam, ...]:
        """Whatever has an address in both families without sessions."""
        return (*self.eam, self.clat) if self.clat else self.eam

    def with_plat(self, plat: IPv6Network) -> "Config":
        """The same, now that the prefix of the provider's NAT64 is known."""
        return self.model_copy(update={"pool6": plat})
