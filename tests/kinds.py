"""Kinds of packets, for what holds of every one: each protocol, fragments, and every way in which a host is mapped."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Nat64, Step
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    NO_SESSIONS,
    REPLY,
    SIIT,
    TRANSLATABLE4,
    TRANSLATABLE6,
    as_eam4,
    at_eam6,
    of_eam6,
    to_eam4,
)
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    HOST4_IN6,
    HOST6,
    POOL6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
)

CLAT4, CLAT6, VIP = "192.0.0.1", "2001:db8:1::464", "203.0.113.80"
Build = Callable[..., Packet]


class Kind(NamedTuple):
    """A kind of packet: the headers it comes and leaves with, what lies behind them, and which part of that."""

    config: dict[str, Any]
    came: Build
    left: Build
    body: Packet
    as_body: Packet
    part: tuple[int, int] | None = None
    before: Packet | None = None  # what opens the way for it

    def nat64(self, **changes: Any) -> Nat64:
        nat64 = Nat64(**self.config | changes)
        if self.before:
            nat64.check(Step(self.before))
        return nat64

    def sent(self, more: bytes = b"", **fields: Any) -> Packet:
        packet = self.came(**fields) / self.body / Raw(more)
        return fragment_of(packet, *self.part, 0xABCD1234 if packet.version == 6 else 0x1234) if self.part else packet

    def expect(self, more: bytes = b"", **fields: Any) -> Packet:
        packet = self.left(**fields) / self.as_body / Raw(more)
        return fragment_of(packet, *self.part, 0x1234) if self.part else packet

    @property
    def has_no_sessions(self) -> bool:
        return self.config.get("pool4") == []

    @property
    def goes_by_its_first(self) -> bool:
        """A later fragment of a session."""
        return bool(self.before and self.part and self.part[0])

    @property
    def is_error(self) -> bool:
        return bool(self.body.haslayer(Icmp))

    @property
    def is_answered(self) -> bool:
        """Whether there may be an ICMP error about it."""
        return not self.is_error and not (self.part and self.part[0])


def without_state(came: Build, left: Build, body: Packet, as_body: Packet | None = None, part: Any = None) -> Kind:
    return Kind(ALONE, came, left, body, as_body or body, part)


OF_UDP, OF_TCP = UDP(**ASK) / payload(40), TCP(**ASK, flags="A") / payload(40)
FIRST, LATER, ATOMIC = (0, 24), (24, 16), (0, 2000)


def in_two(ends: tuple[Build, Build], of_esp: tuple[Build, Build]) -> dict[str, Kind]:
    """The first and the later fragment of each protocol."""
    whole = {"udp": (*ends, OF_UDP), "tcp": (*ends, OF_TCP), "esp": (*of_esp, Raw(payload(40)))}
    parts = {"first": FIRST, "later": LATER}
    return {
        f"{at}_fragment_of_{name}": without_state(*of, part=part)
        for name, of in whole.items()
        for at, part in parts.items()
    }


FROM_IPV4 = {
    "udp": Kind({}, from4, seen6, UDP(**TO_MAPPED) / b"x", UDP(**TO_HOST6) / b"x"),
    "tcp": Kind({}, from4, seen6, TCP(**TO_MAPPED, flags="S"), TCP(**TO_HOST6, flags="S")),
    "echo": Kind({}, from4, seen6, ping4(True, b"x"), ping6(True, b"x")),
    "echo_reply": Kind({}, from4, seen6, ping4(False, b"x"), ping6(False, b"x")),
    "esp": without_state(partial(to_eam4, proto=50), partial(at_eam6, nh=50), Raw(b"abcd")),
    "udp_without_state": without_state(to_eam4, at_eam6, OF_UDP),
    "tcp_without_state": without_state(to_eam4, at_eam6, OF_TCP),
    "error": without_state(
        to_eam4, at_eam6, Icmp(type=3, code=1) / as_eam4() / OF_UDP, Icmp(type=1) / of_eam6(hlim=63) / OF_UDP
    ),
    **in_two((to_eam4, at_eam6), (partial(to_eam4, proto=50), partial(at_eam6, nh=50))),
}
FROM_IPV6 = {
    "udp": Kind({}, from6, seen4, UDP(**FROM_HOST6) / b"x", UDP(**FROM_MAPPED) / b"x"),
    "tcp": Kind({}, from6, seen4, TCP(**FROM_HOST6, flags="S"), TCP(**FROM_MAPPED, flags="S")),
    "echo": Kind({}, from6, seen4, ping6(True, b"x"), ping4(True, b"x")),
    "echo_reply": Kind({}, from6, seen4, ping6(False, b"x"), ping4(False, b"x")),
    "esp": without_state(partial(of_eam6, nh=50), partial(as_eam4, proto=50), Raw(b"abcd")),
    "udp_without_state": without_state(of_eam6, as_eam4, OF_UDP),
    "tcp_without_state": without_state(of_eam6, as_eam4, OF_TCP),
    "error": without_state(
        of_eam6,
        as_eam4,
        Icmp(type=1, code=3) / at_eam6() / OF_UDP,
        Icmp(type=3, code=1) / to_eam4(ttl=63, id=0) / OF_UDP,
    ),
    **in_two((of_eam6, as_eam4), (partial(of_eam6, nh=50), partial(as_eam4, proto=50))),
}
FROM_IPV6 |= {
    f"atomic_fragment_of_{name}": FROM_IPV6[name]._replace(part=ATOMIC)
    for name in ("udp", "tcp", "echo", "echo_reply", "esp", "udp_without_state", "tcp_without_state", "error")
}

# How hosts are mapped without a session: a configuration; the headers from IPv4 and as they arrive, from IPv6 and as
# they arrive. Behind a CLAT is IPv4.
Way = tuple[dict[str, Any], Build, Build, Build, Build]
WITH_SESSIONS: Way = ({}, from4, seen6, from6, seen4)
MAPPED_BY: dict[str, Way] = {
    "alone": (ALONE, to_eam4, at_eam6, of_eam6, as_eam4),
    "beside_sessions": (BESIDE, to_eam4, at_eam6, of_eam6, as_eam4),
    "by_the_prefix": (
        SIIT,
        partial(from4, dst=TRANSLATABLE4),
        partial(seen6, dst=TRANSLATABLE6),
        partial(from6, src=TRANSLATABLE6),
        partial(seen4, src=TRANSLATABLE4),
    ),
    "of_a_clat": (
        {"pool6": None, "clat": {"ipv6": CLAT6, "plat": POOL6}, **NO_SESSIONS},
        partial(from4, src=CLAT4, dst=HOST4),
        partial(seen6, src=CLAT6, dst=HOST4_IN6),
        partial(from6, src=HOST4_IN6, dst=CLAT6),
        partial(seen4, src=HOST4, dst=CLAT4),
    ),
}
BODIES: dict[str, tuple[dict[str, int], dict[str, int], Packet, Packet]] = {
    "udp": ({}, {}, OF_UDP, OF_UDP),
    "tcp": ({}, {}, OF_TCP, OF_TCP),
    "echo": ({}, {}, ping4(True, b"x", id=7), ping6(True, b"x", id=7)),
    "esp": ({"proto": 50}, {"nh": 50}, Raw(payload(40)), Raw(payload(40))),
}
for way, (config, came4, left6, came6, left4) in MAPPED_BY.items():
    for name, (fields4, fields6, body4, body6) in BODIES.items():
        if way == "alone" and name != "echo":
            continue  # is there
        ends4 = partial(came4, **fields4), partial(left6, **fields6)
        ends6 = partial(came6, **fields6), partial(left4, **fields4)
        FROM_IPV4[f"{name}_{way}"] = Kind(config, *ends4, body4, body6)
        FROM_IPV6[f"{name}_{way}"] = Kind(config, *ends6, body6, body4)
    if way == "alone":
        continue
    FROM_IPV4[f"later_fragment_{way}"] = Kind(config, came4, left6, OF_UDP, OF_UDP, LATER)
    FROM_IPV6[f"later_fragment_{way}"] = Kind(config, came6, left4, OF_UDP, OF_UDP, LATER)

SERVED: dict[str, Any] = {
    "forward": [],
    "service": [{"name": "web", "protocol": "udp", "ipv4": f"{VIP}:80", "endpoints": [f"[{HOST6}]:80"]}],
}
TO_VIP, ANSWER = partial(from4, dst=VIP), UDP(**REPLY) / payload(40)
FROM_IPV4["udp_of_a_service"] = Kind(SERVED, TO_VIP, seen6, OF_UDP, OF_UDP)
FROM_IPV6["udp_of_a_service"] = Kind(SERVED, from6, partial(seen4, src=VIP), ANSWER, ANSWER, before=TO_VIP() / OF_UDP)
FROM_IPV4["first_fragment_of_a_service"] = FROM_IPV4["udp_of_a_service"]._replace(part=FIRST)
FROM_IPV6["first_fragment_of_a_service"] = FROM_IPV6["udp_of_a_service"]._replace(part=FIRST)

for name, kind in (("udp", UDP), ("tcp", TCP)):
    came4, left6, came6, left4 = (
        kind(**ports) / payload(40) for ports in (TO_MAPPED, TO_HOST6, FROM_HOST6, FROM_MAPPED)
    )
    FROM_IPV4[f"later_fragment_of_{name}_of_a_session"] = Kind(
        {}, from4, seen6, came4, left6, LATER, before=fragment_of(from4() / came4, 0, 24, 0x1234)
    )
    FROM_IPV6[f"later_fragment_of_{name}_of_a_session"] = Kind(
        {}, from6, seen4, came6, left4, LATER, before=fragment_of(from6() / came6, 0, 24, 0xABCD1234)
    )
