"""What [fastpath] interfaces passes by: packets of established flows that a firewall of this host sees in one direction
alone. Pure."""

from collections.abc import Iterator
from typing import Any

from nat64d.config.models import Config
from nat64d.host import ruleset, sysctl
from nat64d.host.standing import Standing

OF_STATES = {"conntrack", "state"}  # extensions of iptables


def missing(config: Config, standing: Standing) -> Iterator[str]:
    """An interface that is not there."""
    if config.fastpath.mode == "off":
        return
    there = {link.name for link in standing.facts.links}
    for name in config.fastpath.interfaces:
        if name not in there:
            yield f"[fastpath] interfaces: there is no {name}; it is used once there is."


def half_seen(config: Config, standing: Standing) -> Iterator[str]:
    """Rules in the way of forwarded packets that ask for the state of connections."""
    fastpath = config.fastpath
    if fastpath.mode == "off" or not fastpath.interfaces or standing.parameters.get(sysctl.LIBERAL) == "1":
        return
    for family, table in sorted(ruleset.asking(standing.ruleset or {}, _asks_for_state)):
        yield (
            f"Rules of table {family} {table} ask for the state of connections, and see one direction alone of flows "
            f"by {', '.join(fastpath.interfaces)} ([fastpath] interfaces): TCP segments count as invalid. Run "
            f"'{sysctl.command([(sysctl.LIBERAL, '1')])}', and let them accept what comes from {config.tun.name}."
        )


def _asks_for_state(expression: Any) -> bool:
    """Whether a part of a rule does."""
    if isinstance(expression, list):
        return any(map(_asks_for_state, expression))
    if not isinstance(expression, dict):
        return False
    if expression.get("key") == "state" or expression.get("name") in OF_STATES:
        return True
    return any(map(_asks_for_state, expression.values()))
