"""PREF64: the NAT64 prefix that router advertisements on the links of this host announce (RFC 8781).

The kernel keeps nothing of that option, so routers are asked: one solicitation on each link, as a host sends it when it
starts (RFC 4861 section 6.3.7).
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.advertise.listener import LINKS, PATIENCE, Listener
from nat64d.config.models import Config
from nat64d.doctor.daemon import Answer
from nat64d.doctor.finding import Said, note, warning
from nat64d.doctor.look import Look
from nat64d.host.standing import Standing


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
    with Listener() as one:
        return list(dict.fromkeys(asked(one, links[:LINKS], PATIENCE))) if links else []


def asked(one: Listener, links: Iterable[str], patience: float) -> Iterator[Announced]:
    """What the routers of these links announce within so many seconds."""
    one.solicit(links)
    for offer in one.offers(patience):
        if offer.lifetime:
            yield Announced(socket.if_indextoname(offer.link), offer.router, offer.prefix)


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
