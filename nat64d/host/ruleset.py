"""What an nftables ruleset does with packets of ours, as far as it can be known without a packet. Pure, but for `read`.

A rule may ask for what is not known here (marks, sets, extensions of iptables). So a packet counts as dropped only if
no rule before that could have accepted it: what this module says is dropped is dropped.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from nat64d.host import legacy

NFT = ("nft", "--json", "--stateless", "--terse", "list", "ruleset")  # without counters, without elements of sets
TIMEOUT = 10.0  # seconds
PASSED_OVER = {"counter", "log", "comment", "mangle", "notrack", "flow", "ct helper", "ct timeout"}
OTHERS = {"icmp", "icmpv6", "ipv6-icmp", "igmp", "1", "58", "arp"}  # not TCP or UDP, as nft names them
VERDICTS = {"accept", "drop", "reject", "jump", "goto", "return", "continue"}

Ruleset = Mapping[str, Any]  # what `nft --json` prints
Expression = Mapping[str, Any]
Chain = legacy.Chain


@dataclass(frozen=True)
class Passage:
    """Packets of one kind on their way through a hook; an interface that is not known is None."""

    hook: str  # "forward", "input" or "output"
    version: int  # 4 or 6
    iif: str | None
    oif: str | None
    state: str  # of connection tracking: "new" or "established"


@dataclass(frozen=True)
class Drop:
    """Where packets end: the base chain, and what of it or below drops them."""

    chain: Chain
    why: str


class Fate(Enum):
    """What a chain does with a packet."""

    ACCEPTED = 1
    DROPPED = 2
    PASSES = 3  # to the end of the chain
    UNKNOWN = 4  # perhaps accepted


def read() -> Ruleset | None:
    """The ruleset of this network namespace, with what iptables-legacy has; None without the program nft, or if it does
    not answer."""
    rules = legacy.read()
    try:
        done = subprocess.run(NFT, capture_output=True, check=True, timeout=TIMEOUT)  # noqa: S603  no shell
        rules += json.loads(done.stdout)["nftables"]
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        if not rules:
            return None
    return {"nftables": rules}


def accept(chain: Chain, match: tuple[str, str], comment: str) -> None:
    """Insert a rule before all others of a chain: accept what has this interface, as ("iifname", "nat64"). Raises
    OSError."""
    if legacy.has(chain):
        legacy.accept(chain, match, comment)
        return
    _nft("insert", "rule", *chain, *match, "accept", "comment", f'"{comment}"')


def remove(chain: Chain, comment: str) -> None:
    """Remove the rules with that comment from a chain, if it is still there. Raises OSError."""
    if legacy.has(chain):
        legacy.remove(chain, comment)
        return
    ruleset = read() or {}
    for rule in _objects(ruleset, "rule"):
        if (rule["family"], rule["table"], rule["chain"]) == chain and rule.get("comment") == comment:
            _nft("delete", "rule", *chain, "handle", str(rule["handle"]))


def _nft(*arguments: str) -> None:
    command = ("nft", *arguments)
    done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT, text=True)  # noqa: S603  no shell
    if done.returncode:
        raise OSError(" ".join(done.stderr.split()))


def drop_of(ruleset: Ruleset, passage: Passage) -> Drop | None:
    """The first base chain that certainly drops these packets, None if there is none."""
    rules = _rules(ruleset)
    for chain in _objects(ruleset, "chain"):
        if chain.get("hook") == passage.hook and chain["family"] in {"inet", "ip" if passage.version == 4 else "ip6"}:
            place = chain["family"], chain["table"], chain["name"]
            fate, why = _walk(rules, place, passage, ())
            if fate is Fate.PASSES and chain.get("policy") == "drop":
                return Drop(place, "policy drop")
            if fate is Fate.DROPPED:
                return Drop(place, why)
    return None


def routers(ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, of programs that need this host to forward: they have a chain in the forward hook
    or translate sources."""
    return frozenset(
        (chain["family"], chain["table"])
        for chain in _objects(ruleset, "chain")
        if chain.get("hook") == "forward" or (chain.get("hook"), chain.get("type")) == ("postrouting", "nat")
    )


def asking(ruleset: Ruleset, asks: Callable[[Any], bool]) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, that have a chain in the forward hook and a rule whose expressions `asks` is true
    of."""
    chains = _objects(ruleset, "chain")
    forward = {(chain["family"], chain["table"]) for chain in chains if chain.get("hook") == "forward"}
    rules = _objects(ruleset, "rule")
    asked = {(rule["family"], rule["table"]) for rule in rules if asks(rule.get("expr", []))}
    return frozenset(forward & asked)


def _objects(ruleset: Ruleset, kind: str) -> Iterator[Mapping[str, Any]]:
    return (entry[kind] for entry in ruleset.get("nftables", ()) if kind in entry)


def _rules(ruleset: Ruleset) -> dict[Chain, list[Sequence[Expression]]]:
    """The expressions of every rule, by chain."""
    rules: dict[Chain, list[Sequence[Expression]]] = {}
    for rule in _objects(ruleset, "rule"):
        rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule.get("expr", ()))
    return rules


def _walk(
    rules: Mapping[Chain, list[Sequence[Expression]]], chain: Chain, passage: Passage, above: tuple[Chain, ...]
) -> tuple[Fate, str]:
    """The fate of a packet in a chain; `above`: the chains that led here."""
    doubtful = False
    for rule in rules.get(chain, ()):
        for certain, verdict, target in _outcomes(rule, passage):
            fate, why = _LEAF.get(verdict, Fate.PASSES), f"{verdict} in chain {chain[2]}"
            below = (chain[0], chain[1], target)
            if verdict in {"jump", "goto"} and below not in above:
                fate, why = _walk(rules, below, passage, (*above, chain))
            if certain and not doubtful and (fate in {Fate.ACCEPTED, Fate.DROPPED} or verdict in {"goto", "return"}):
                return fate, why
            if certain and fate is Fate.ACCEPTED:
                return Fate.UNKNOWN, ""  # accepted, unless an earlier rule did something else
            doubtful |= fate in {Fate.ACCEPTED, Fate.UNKNOWN} or verdict in {"goto", "return", "queue"}
    return (Fate.UNKNOWN if doubtful else Fate.PASSES), ""


_LEAF = {"accept": Fate.ACCEPTED, "drop": Fate.DROPPED, "reject": Fate.DROPPED, "queue": Fate.UNKNOWN}


def _outcomes(rule: Sequence[Expression], passage: Passage) -> Iterator[tuple[bool, str, str]]:
    """The verdicts that a rule may come to: whether that is certain, which one, and the chain it leads to."""
    certain = True
    for expression in rule:
        ((kind, body),) = expression.items()
        if kind in VERDICTS:
            yield certain, kind, (body or {}).get("target", "") if isinstance(body, Mapping) else ""
        elif kind == "xt" and isinstance(body, Mapping) and body.get("name") in {"REJECT", "DROP"}:
            yield certain, "reject", ""
        elif kind == "queue":
            yield certain, kind, ""
        elif kind == "vmap":
            yield from _mapped(body, passage, certain)
            certain = False
        elif kind not in PASSED_OVER:
            matches = _matches(body, passage) if kind == "match" else None
            if matches is False:
                return
            certain = certain and matches is True


def _mapped(body: Mapping[str, Any], passage: Passage, certain: bool) -> Iterator[tuple[bool, str, str]]:
    """The verdicts that a map of verdicts may come to; of a map by name the entries are not known."""
    entries = body["data"].get("set") if isinstance(body.get("data"), Mapping) else None
    if entries is None:
        yield False, "accept", ""
        return
    for value, verdict in entries:
        matches = _matches({"op": "==", "left": body["key"], "right": value}, passage)
        for sure, kind, target in _outcomes([verdict], passage) if matches is not False else ():
            yield sure and certain and matches is True, kind, target


def _matches(body: Mapping[str, Any], passage: Passage) -> bool | None:
    """Whether packets match; None: not known."""
    right = body["right"]
    if isinstance(right, Mapping):
        right = right.get("set", right)
    choices = right if isinstance(right, list) else [right]
    if _is_of_others(body["left"], choices, passage):
        return body["op"] == "!=" and "meta" in body["left"]
    known = _value(body["left"], passage)
    if known is None or not all(isinstance(choice, str) for choice in choices):
        return None
    among = any(fnmatchcase(known, choice) for choice in choices)
    return among if body["op"] in {"==", "in"} else not among if body["op"] == "!=" else None


def _is_of_others(left: Mapping[str, Any], choices: Sequence[Any], passage: Passage) -> bool:
    """Whether a match looks for packets of the other family, or for ICMP and the like: what counts is TCP and UDP."""
    match left:
        case {"payload": {"protocol": str(protocol)}}:
            return protocol in OTHERS or protocol == ("ip6" if passage.version == 4 else "ip")
        case {"meta": {"key": "l4proto"}}:
            return OTHERS.issuperset(map(str, choices))
    return False


def _value(left: Mapping[str, Any], passage: Passage) -> str | None:
    """What a packet has where a match looks, None if that is not known."""
    match left:
        case {"meta": {"key": "iifname" | "iif"}}:
            return passage.iif
        case {"meta": {"key": "oifname" | "oif"}}:
            return passage.oif
        case {"meta": {"key": "nfproto"}}:
            return f"ipv{passage.version}"
        case {"meta": {"key": "protocol"}}:
            return "ip" if passage.version == 4 else "ip6"
        case {"ct": {"key": "state"}}:
            return passage.state
    return None
