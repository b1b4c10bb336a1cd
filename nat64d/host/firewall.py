"""Whether the firewall of this host lets the packets of a configuration pass. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nat64d.host import legacy
from nat64d.host.facts import Facts
from nat64d.host.ruleset import Chain, Passage, drop_of
from nat64d.host.standing import Standing
from nat64d.host.wanted import is_host

if TYPE_CHECKING:
    from nat64d.config.models import Config

IPTABLES = {("ip", "filter"): "iptables", ("ip6", "filter"): "ip6tables"}
HOOKS = {"FORWARD", "INPUT", "OUTPUT"}  # as iptables names its chains
SIDES = {True: ("from", "iifname", "-i"), False: ("to", "oifname", "-o")}  # of our device


def passages(config: "Config", tun: str, facts: Facts) -> list[Passage]:
    """The packets that must pass: those that open a connection, and the replies to them.

    Hosts behind a stateful gateway, or behind a CLAT, open connections; where there are mappings alone it is the IPv4
    hosts, and with nothing but pool6 either side.
    """
    uplink4, uplink6 = _uplink(facts, 4), _uplink(facts, 6)
    if config.clat:
        near = ("output", "input") if is_host(config.clat.ipv4) else ("forward", "forward")
        return [
            Passage(near[0], 4, None, tun, "new"),
            Passage("forward", 6, tun, uplink6, "new"),
            Passage("forward", 6, uplink6, tun, "established"),
            Passage(near[1], 4, tun, None, "established"),
        ]
    mapped = bool(config.eam or config.forward or config.service)
    first = "new" if config.pool4 or not mapped else "established"
    second = "established" if config.pool4 else "new"
    return [
        Passage("forward", 6, None, tun, first),
        Passage("forward", 4, tun, uplink4, first),
        Passage("forward", 4, uplink4, tun, second),
        Passage("forward", 6, tun, None, second),
    ]


def _uplink(facts: Facts, version: int) -> str | None:
    """The interface of the default route; None if there is none, or several."""
    links = {route.link for route in facts.defaults if route.network.version == version}
    return links.pop() if len(links) == 1 else None


def dropping(config: "Config", tun: str, standing: Standing) -> dict[Chain, tuple[str, list[Passage]]]:
    """The base chains that certainly drop packets which must pass: why, and which."""
    found: dict[Chain, tuple[str, list[Passage]]] = {}
    for passage in passages(config, tun, standing.facts):
        if drop := drop_of(standing.ruleset or {}, passage):
            found.setdefault(drop.chain, (drop.why, []))[1].append(passage)
    return found


def accepts(config: "Config", tun: str, standing: Standing) -> tuple[tuple[Chain, tuple[str, str]], ...]:
    """The rules that let them pass: a chain, and which interface to accept there, as ("iifname", "nat64")."""
    return tuple(
        (chain, (SIDES[side][1], tun))
        for chain, (_, dropped) in dropping(config, tun, standing).items()
        for side in sorted({one.iif == tun for one in dropped})
    )


def blocked(config: "Config", tun: str, standing: Standing) -> Iterator[str]:
    """A sentence for each of these chains."""
    for (family, table, chain), (why, dropped) in dropping(config, tun, standing).items():
        kinds = dict.fromkeys(f"IPv{one.version} packets {SIDES[one.iif == tun][0]} {tun}" for one in dropped)
        sides = sorted({one.iif == tun for one in dropped}, reverse=True)
        commands = " && ".join(_accept((family, table, chain), tun, side) for side in sides)
        yield (
            f"The firewall drops {' and '.join(kinds)}: table {family} {table}, chain {chain}, {why}. "
            f"Run '{commands}', and put that into its configuration."
        )


def _accept(chain: Chain, tun: str, leaves: bool) -> str:
    """The command that accepts what leaves our device, or what is sent to it, before all other rules of a chain."""
    _, name, option = SIDES[leaves]
    family, table, hook = chain
    if legacy.has(chain):
        return " ".join(legacy.command(chain, option, tun))
    if (family, table) in IPTABLES and hook in HOOKS:
        return f"{IPTABLES[family, table]} -I {hook} {option} {tun} -j ACCEPT"
    return f"nft insert rule {family} {table} {hook} {name} {tun} accept"
