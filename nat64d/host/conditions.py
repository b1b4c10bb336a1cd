"""What keeps packets from passing, or may: a row for each condition. Pure functions of how the host stands.

A condition is what nat64d does not set right by itself, because it is the operator's. Its sentence names the command
that helps, as in "Run 'ip route del …'".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nat64d.config.models import Config
from nat64d.config.problems import Finding, problems
from nat64d.host import checks, own4, passed_by, sysctl
from nat64d.host.facts import Facts
from nat64d.host.firewall import blocked
from nat64d.host.mark import Mark
from nat64d.host.standing import Standing
from nat64d.host.vips import UNCLAIMED, Claiming, off_link
from nat64d.host.wanted import CONTINUITY4, Wanted

COMMAND = re.compile(r"\b[Rr]un '([^']+)'")  # in a sentence


class Announcing(NamedTuple):
    """What stands in the way of [ra]: interfaces on which nothing can be sent, and why; interface, address and prefix
    of other routers that announce another prefix."""

    silent: tuple[tuple[str, str], ...] = ()
    rivals: tuple[tuple[str, str, str], ...] = ()


NOTHING = Announcing()


@dataclass(frozen=True)
class Situation:
    """What conditions are judged by. `failures`: what could not be set up again, and why, by name; `contested`: what
    had to be set up again and again; `marks`: what is nearly used up."""

    config: Config
    standing: Standing
    wanted: Wanted
    failures: Mapping[str, str] = field(default_factory=dict)
    contested: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    announcing: Announcing = NOTHING
    claiming: Claiming = UNCLAIMED


class Condition(NamedTuple):
    """A row: its name, whether packets cannot pass while it stands, what it means, and what finds it."""

    name: str
    blocks: bool
    help: str
    find: Callable[[Situation], Iterator[str]]


class Found(NamedTuple):
    """A condition that stands, in words."""

    condition: Condition
    sentence: str

    @property
    def command(self) -> str | None:
        """What the sentence says to run."""
        return command_in(self.sentence)


def command_in(sentence: str) -> str | None:
    """The command that a sentence names, as in "Run 'ip route del …'"."""
    named = COMMAND.search(sentence)
    return named.group(1) if named else None


def _not_set_up(situation: Situation) -> Iterator[str]:
    yield from dict.fromkeys(situation.failures.values())


def _contested(situation: Situation) -> Iterator[str]:
    if situation.contested:
        yield (
            f"Another program undoes what nat64d sets up ({', '.join(situation.contested)}), again and again: tell "
            "that program to leave the device alone (systemd-networkd: ManageForeignRoutes=no; NetworkManager: "
            "unmanaged-devices)."
        )


def _is_led_to(situation: Situation) -> bool:
    """Whether any packets come to our device: a name server alone, with [host] routes = false, has none."""
    standing = situation.standing
    return situation.config.host.routes or standing.default or bool(standing.networks)


def _forwarding(situation: Situation) -> Iterator[str]:
    if not _is_led_to(situation):
        return
    tun = situation.wanted.tun
    off = sysctl.not_forwarding(situation.standing.parameters, tun)
    if off:
        names = " and ".join(f"{sysctl.name(key)} = 0" for key in off)
        yield f"{names}: packets of {tun} are not forwarded. Run '{sysctl.command([(key, '1') for key in off])}'."


def _reverse_path(situation: Situation) -> Iterator[str]:
    tun = situation.wanted.tun
    if sysctl.is_strict(situation.standing.parameters, tun):
        command = sysctl.command([(f"net/ipv4/conf/{tun}/rp_filter", "2")])
        yield (
            f"The reverse path filter of {tun} is strict: packets from addresses not routed to it are dropped. "
            f"Run '{command}'."
        )


def _not_routed(situation: Situation) -> Iterator[str]:
    """A route that discards packets, or a rule that leads them to another table."""
    standing, config = situation.standing, situation.config
    own = {address.ip for link in standing.facts.links for address in link.addresses}
    subnets = {address.network[0] for link in standing.facts.links for address in link.addresses}
    for network in checks.looked_up(config):
        first = network[0]
        lost = network not in standing.facts.towards and first not in subnets
        if standing.device and lost and not any(address in network for address in own):
            yield (
                f"Packets to {network} do not reach {situation.wanted.tun}: a route discards them, or a rule leads "
                f"them to another table. See 'ip -{network.version} rule', 'ip -{network.version} route get {first}'."
            )


def _firewall(situation: Situation) -> Iterator[str]:
    if _is_led_to(situation):
        yield from blocked(situation.config, situation.wanted.tun, situation.standing)


def _plat(situation: Situation) -> Iterator[str]:
    if not situation.standing.plat:
        yield (
            f"This host has no route to the provider's NAT64, {situation.config.pool6}. "
            "Run 'ip -6 route add default via ROUTER dev INTERFACE'."
        )


def _clat_address(situation: Situation) -> Iterator[str]:
    clat, link = situation.config.clat, situation.standing.link
    if clat and situation.wanted.link and link is None:
        there = {
            str(address.network)
            for one in situation.standing.facts.links
            for address in one.addresses
            if one.resolves and address.version == 6 and not address.is_link_local
        }
        yield (
            f"[clat] ipv6 = {clat.ipv6[0]} is in no prefix of a link of this host any more, as it was in one of "
            f"{situation.wanted.link}: no replies come back. Choose an address of "
            f"{' or '.join(sorted(there)) or 'one'} and run 'nat64d reload'."
        )


def _clat_twice(situation: Situation) -> Iterator[str]:
    clat = situation.config.clat
    if clat and clat.ipv4.overlaps(CONTINUITY4):
        for link in situation.standing.facts.links:
            for address in link.addresses:
                if link.name != situation.wanted.tun and address.version == 4 and address.ip in CONTINUITY4:
                    yield (
                        f"{link.name} has {address}, and only one program of a host may use {CONTINUITY4} "
                        f"(RFC 7335). Run 'ip address del {address} dev {link.name}', or choose a private [clat] ipv4."
                    )


def _ra_silent(situation: Situation) -> Iterator[str]:
    for link, why in situation.announcing.silent:
        yield f"No router advertisements on {link}, which [ra] names: {why}."


def _ra_rival(situation: Situation) -> Iterator[str]:
    first = {link: (router, prefix) for link, router, prefix in reversed(situation.announcing.rivals)}
    for link, (router, prefix) in first.items():
        yield (
            f"Another router, {router} on {link}, announces the NAT64 prefix {prefix} (RFC 8781): hosts there may use "
            "it in place of ours. Change what it announces ('nat64d export radvd'), or take the interface out of [ra]."
        )


def _vip_silent(situation: Situation) -> Iterator[str]:
    for link, why in situation.claiming.silent:
        yield f"Addresses of services are not announced on {link}: {why}."


def _vip_taken(situation: Situation) -> Iterator[str]:
    for link, address, other, both in situation.claiming.taken:
        what = "so does this gateway, and connections go to either"
        yield (
            f"Another host on {link}, {other}, answers for {address}, which is of a [[service]]: "
            f"{what if both else 'it is left to that one, as long as it answers'}. Take the address from that host, or "
            f"the [[service]] from this one; 'arping -I {link} {address}' shows who answers."
        )


def _vip_off_link(situation: Situation) -> Iterator[str]:
    yield from off_link(situation.config, situation.standing.facts)


def _standing(find: Callable[[Config, Standing], Iterator[str]]) -> Callable[[Situation], Iterator[str]]:
    """What a configuration and the host say, and nothing else."""
    return lambda situation: find(situation.config, situation.standing)


def _unfit(*finds: Callable[[Config, Facts], Iterator[Finding]]) -> Callable[[Situation], Iterator[str]]:
    """What `check` finds as well: a configuration that does not fit the host, as it is now."""

    def find(situation: Situation) -> Iterator[str]:
        config = situation.config
        found = [finding for one in finds for finding in one(config, situation.standing.facts)]
        raw = config.model_dump(mode="json", exclude_none=True) if found else {}
        yield from map(str, problems("", raw, found))

    return find


def _at_mark(name: str) -> Callable[[Situation], Iterator[str]]:
    """The marks of a condition."""
    return lambda situation: (mark.sentence for mark in situation.marks if mark.condition == name)


CONDITIONS: tuple[Condition, ...] = (
    Condition("not_set_up", True, "Something that nat64d set up is gone and cannot be set up again.", _not_set_up),
    Condition("contested", False, "Another program undoes again and again what nat64d sets up.", _contested),
    Condition("forwarding_off", True, "The kernel does not forward packets of the TUN device.", _forwarding),
    Condition("reverse_path", False, "The reverse path filter of the TUN device is strict.", _reverse_path),
    Condition("firewall", True, "A rule or policy of the firewall drops packets from or to the TUN device.", _firewall),
    Condition("not_routed", True, "Packets for a prefix of the configuration are discarded or led away.", _not_routed),
    Condition(
        "routed_elsewhere",
        True,
        "The kernel prefers another route for a prefix of the configuration.",
        _unfit(checks.routed_elsewhere),
    ),
    Condition(
        "partly_routed_elsewhere",
        False,
        "A route leads a part of a prefix elsewhere, or discards its packets.",
        _unfit(checks.partly_routed_elsewhere),
    ),
    Condition(
        "own_address",
        True,
        "An address of [[pool4]], [[forward]] or [[eam]] is on an interface, or one of this host in pool6 or a "
        "client_prefix.",
        _unfit(checks.own_address4, checks.own_address6),
    ),
    Condition(
        "own_address_in_eam", False, "An address of this host is in an [[eam]].", _unfit(checks.own_address_in_eam)
    ),
    Condition(
        "router_inside",
        True,
        "The router of a default route has an address that is led to the TUN device.",
        _unfit(checks.router_inside),
    ),
    Condition(
        "on_link",
        False,
        "Hosts of a link look for addresses there that nobody answers for.",
        _unfit(checks.on_link4, checks.on_link6),
    ),
    Condition(
        "masquerade_without_route",
        True,
        'There is no default route for [host] masquerade = "auto".',
        _unfit(checks.masquerade_without_route),
    ),
    Condition(
        "masquerade_without_address",
        False,
        "The interface that masquerades is gone or has no address.",
        _unfit(checks.masquerade_without_interface, checks.masquerade_without_address),
    ),
    Condition(
        "pool4_without_address",
        True,
        "An interface that [[pool4]] shares the address of has none.",
        _unfit(own4.pool4_without_address),
    ),
    Condition(
        "shared_ports_in_use",
        False,
        "A port that [[pool4]] shares with this host is, or may be, used by a program.",
        _unfit(own4.ports_given_away, own4.ports_in_use),
    ),
    Condition("plat_unreachable", True, "There is no route to the provider's NAT64.", _plat),
    Condition("clat_off_link", True, "[clat] ipv6 is in no prefix of this host any more.", _clat_address),
    Condition("ra_silent", False, "An interface of [ra] cannot be advertised on.", _ra_silent),
    Condition("ra_rival", False, "Another router announces another prefix on an interface of [ra].", _ra_rival),
    Condition("vip_silent", False, "Addresses of services cannot be announced on an interface.", _vip_silent),
    Condition("vip_taken", False, "Another host answers for an address of a service.", _vip_taken),
    Condition(
        "vip_off_link",
        False,
        'No address of a service is in the subnet of an interface, for [services] announce = "neighbours".',
        _vip_off_link,
    ),
    Condition("clat_ipv4_in_use", False, "Another interface has an address of 192.0.0.0/29.", _clat_twice),
    Condition(
        "fastpath_interface", False, "An interface of [fastpath] interfaces is not there.", _standing(passed_by.missing)
    ),
    Condition(
        "fastpath_half_seen",
        False,
        "A firewall that asks for the state of connections sees half of those that pass by [fastpath] interfaces.",
        _standing(passed_by.half_seen),
    ),
    Condition(
        "pool4_filling",
        False,
        "[limits] watermark percent of the ports or blocks of a [[pool4]] address are in use.",
        _at_mark("pool4_filling"),
    ),
    Condition(
        "tables_filling",
        False,
        "[limits] watermark percent of a table or of the memory for fragments are in use.",
        _at_mark("tables_filling"),
    ),
)


def conditions(situation: Situation) -> list[Found]:
    """Apply every row of CONDITIONS."""
    return [Found(row, sentence) for row in CONDITIONS for sentence in row.find(situation)]


def names(found: Iterable[Found]) -> list[str]:
    """The names of what blocks packets, each once."""
    return list(dict.fromkeys(one.condition.name for one in found if one.condition.blocks))
