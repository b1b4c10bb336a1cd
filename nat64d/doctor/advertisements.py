"""PREF64: the NAT64 prefix that router advertisements on the links of this host announce (RFC 8781).

The kernel keeps nothing of that option, so routers are asked: one solicitation on each link, as a host sends it when it
starts (RFC 4861 section 6.3.7).
"""

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.config.models import Config
from nat64d.doctor.daemon import Answer
from nat64d.doctor.finding import Said, note, warning
from nat64d.doctor.look import Look
from nat64d.host.standing import Standing

# SPEC: RFC 4861 sections 4.1, 4.2 and 4.6, RFC 8781 section 4
SOLICITATION, ADVERTISEMENT, PREF64 = 133, 134, 38
HEADER, UNIT = 16, 8  # octets: before the options, and of one unit of their lengths
HOP_LIMIT = 255  # of a packet that no router has forwarded
LENGTHS = (96, 64, 56, 48, 40, 32)  # by prefix length code
ALL_ROUTERS = "ff02::2"
ICMP6_FILTER = 1  # linux/icmpv6.h
# LIMITS
PATIENCE = 1.0  # seconds: a router answers within half a second (MAX_RA_DELAY_TIME)
LINKS = 16  # that are asked
OCTETS = 65536  # of an advertisement


class Announced(NamedTuple):
    """A prefix that a router announces on a link."""

    link: str
    router: IPv6Address
    prefix: IPv6Network


# ---- read


def announced(look: Look) -> Sequence[Announced]:
    """Ask on every link, and read what routers answer. Raises OSError without CAP_NET_RAW."""
    there: Standing = look["host"]
    links = [
        link.name
        for link in there.facts.links
        if link.resolves and any(own.version == 6 and own.is_link_local for own in link.addresses)
    ]
    with asking(links[:LINKS]) as one:
        return list(dict.fromkeys(heard(one, PATIENCE))) if links else []


@contextmanager
def asking(links: Iterable[str]) -> Iterator[socket.socket]:
    """A socket for advertisements, which the routers of these links were asked for."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        one.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, passing(ADVERTISEMENT))
        for name in links:
            with suppress(OSError):  # the link is down, or went away
                solicitation = struct.pack("!BBHI", SOLICITATION, 0, 0, 0)  # the kernel writes the checksum
                one.sendto(solicitation, (ALL_ROUTERS, 0, 0, socket.if_nametoindex(name)))
        yield one


def passing(kind: int) -> bytes:
    """A filter that blocks every ICMPv6 type but one: a bit is set for each that is blocked (RFC 3542 section 3.2)."""
    return (((1 << 256) - 1) ^ (1 << kind)).to_bytes(32, "little")


def heard(one: socket.socket, patience: float) -> Iterator[Announced]:
    """What advertisements announce within so many seconds."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        one.settimeout(left)
        try:
            message, about, _, sender = one.recvmsg(OCTETS, socket.CMSG_SPACE(4))
        except TimeoutError:
            return
        router = IPv6Address(sender[0].partition("%")[0])
        hops = [struct.unpack("i", value)[0] for _, kind, value in about if kind == socket.IPV6_HOPLIMIT]
        if hops == [HOP_LIMIT] and router.is_link_local:  # RFC 4861 section 6.1.2
            for prefix in prefixes_in(message):
                yield Announced(socket.if_indextoname(sender[3]), router, prefix)


def prefixes_in(message: bytes) -> Iterator[IPv6Network]:
    """The prefixes of a router advertisement; what is malformed is passed over."""
    rest = message[HEADER:]
    while len(rest) >= UNIT:
        kind, units, field = struct.unpack_from("!BBH", rest)
        if units == 0 or units * UNIT > len(rest):
            return
        if kind == PREF64 and units == 2 and field & 7 < len(LENGTHS) and field >> 3:  # a lifetime of 0 takes it back
            yield IPv6Network((rest[4:16] + bytes(4), LENGTHS[field & 7]), strict=False)
        rest = rest[units * UNIT :]


# ---- judged


def agreeing(config: Config, seen: Sequence[Announced], answered: Answer) -> Iterator[Said]:
    """What is announced is what is translated."""
    status = answered.status
    prefix = config.pool6 or (IPv6Network(status["pool6"]) if status and status["pool6"] else None)
    if prefix is None:
        return
    if not seen:
        yield note(
            "No router advertisement with a NAT64 prefix was seen (RFC 8781). Where clients are to learn it that way, "
            f"it is {prefix}: 'nat64d export radvd' prints the announcement."
        )
    of_links: dict[str, list[Announced]] = {one.link: [] for one in seen}
    for one in seen:
        of_links[one.link].append(one)
    for link, rows in of_links.items():
        if all(one.prefix != prefix for one in rows):
            yield warning(
                f"{rows[0].router} announces the NAT64 prefix {rows[0].prefix} on {link} (RFC 8781), not {prefix}: "
                f"hosts there send to that. Change what it announces ('nat64d export radvd'), or pool6."
            )
