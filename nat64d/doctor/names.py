"""DNS64: whether the addresses that it makes are under the prefix that is translated, and whether its port is free.

RFC 7050: the AAAA records of ipv4only.arpa show the prefix of whoever made them.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Network, ip_address
from typing import NamedTuple

from nat64d.config.addresses import split_listener
from nat64d.config.models import Config
from nat64d.dns64.service.listening import obstacle
from nat64d.doctor.daemon import TRANSLATES, Answer, Row, asking
from nat64d.doctor.finding import Said, error, note, warning
from nat64d.doctor.look import NEEDS_ROOT, Look, UnseenError
from nat64d.doctor.privileges import first_unprivileged
from nat64d.gateway.clat_prefix import RESOLV_CONF, DiscoveryError, ask

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
REFUSED = "REFUSED"
NO_DNS64 = "no DNS64"  # in what `clat_prefix.ask` says of an answer without addresses


class Made(NamedTuple):
    """What a server makes of ipv4only.arpa: the prefixes, or why there are none. `ours`: it is nat64d's own."""

    server: str
    ours: bool
    prefixes: tuple[IPv6Network, ...]
    why: str = ""


class Taken(NamedTuple):
    """An address of [dns64] listen that cannot be listened on, and why."""

    where: str
    why: str


# ---- read


def made(look: Look) -> Sequence[Made]:
    """Ask nat64d's own name server, or the resolver of this host where it has none."""
    from nat64d.gateway.host_resolver import HostResolver  # noqa: PLC0415  dnspython

    if look.config.dns64 is None:
        return [asyncio.run(_made(RESOLV_CONF, False, HostResolver()))]
    status = look["status"]
    if status["state"] not in TRANSLATES:
        raise UnseenError(f"the daemon is {status['state']}")
    listening = [split_listener(where) for where in (status["dns64"] or {}).get("listening", ())]
    found = []
    for address, port in listening:
        asked = ip_address(LOOPBACK[address.version]) if address.is_unspecified else address
        resolver = HostResolver((str(asked), port))
        found.append(
            asyncio.run(_made(f"[{asked}]:{port}" if asked.version == 6 else f"{asked}:{port}", True, resolver))
        )
    return found


async def _made(server: str, ours: bool, resolver: "HostResolver") -> Made:  # type: ignore[name-defined]  # noqa: F821
    try:
        return Made(server, ours, (await ask(resolver)).prefixes)
    except DiscoveryError as why:
        return Made(server, ours, (), str(why))


def taken(look: Look) -> Sequence[Taken]:
    """What is in the way of [dns64] listen while there is no daemon, which says it itself."""
    answered: Answer = look["answer"]
    if answered.status or answered.runs or look.config.dns64 is None:
        return []
    places = {where: split_listener(where) for where in look.config.dns64.listen}
    if os.geteuid() != 0 and any(port < first_unprivileged() for _, port in places.values()):
        raise UnseenError(NEEDS_ROOT)
    return [Taken(where, why) for where, place in places.items() if (why := obstacle(*place))]


# ---- judged


def agreeing(config: Config, seen: Sequence[Made], answered: Answer) -> Iterator[Said]:
    """The prefix of each server is pool6, or one that a policy or range of [dns64] gives."""
    for one in seen:
        if one.ours:
            yield from _of_ours(config, one)
        else:
            yield from _of_resolver(config, one, answered.status)


def _of_ours(config: Config, one: Made) -> Iterator[Said]:
    if REFUSED in one.why:
        yield note(f"Not checked: [dns64] clients has no address of this host, so {one.server} refuses its queries.")
    elif not one.prefixes:
        yield error(f"The name server does not make addresses: {one.server}: {one.why}. See 'nat64d dns64 servers'.")
    elif not set(one.prefixes) & _own_prefixes(config):
        yield error(
            f"The name server, {one.server}, makes addresses under {_listed(one.prefixes)}, and pool6 is "
            f"{config.pool6}: it runs with another configuration. Run '{asking(config, 'reload')}'."
        )


def _of_resolver(config: Config, one: Made, status: Row | None) -> Iterator[Said]:
    """The resolver of a gateway need not be a DNS64; that of a CLAT is where its prefix comes from."""
    discovers = config.clat is not None and config.clat.plat == "discover"
    pool6 = status["pool6"] if discovers and status else str(config.pool6) if config.pool6 else None
    if not one.prefixes:
        if discovers:
            yield error(
                f"The prefix of the provider's NAT64 is not found: {one.why}. Set [clat] plat, or name servers in "
                f"{RESOLV_CONF} that are a DNS64."
            )
        elif NO_DNS64 not in one.why:
            yield note(f"Not checked: {one.why}.")
    elif pool6 and pool6 not in map(str, one.prefixes):
        key = "[clat] plat" if config.clat else "pool6"
        yield warning(
            f"The resolver of this host makes addresses under {_listed(one.prefixes)}, and {key} is {pool6}: whoever "
            f"uses that resolver does not reach this prefix. Let it use {pool6}, or change {key}."
        )


def _own_prefixes(config: Config) -> set[IPv6Network | None]:
    """Every prefix that the name server may make addresses under."""
    assert config.dns64 is not None
    return {
        config.pool6,
        *(row.pool6 for row in config.dns64.ranges),
        *(policy.pool6 for policy in config.dns64.policy),
    } - {None}


def _listed(prefixes: Sequence[IPv6Network]) -> str:
    return " and ".join(map(str, prefixes))


def free(_config: Config, found: Sequence[Taken]) -> Iterator[Said]:
    """Ports that other programs have."""
    for one in found:
        yield warning(f"[dns64] listen = {one.where}: {one.why}. Stop that program, or set [dns64] listen.")
