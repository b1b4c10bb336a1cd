"""The rules of iptables-legacy, which nftables does not show, in the form that `nft --json` has.

Only root can read them. Their tables are named as in "filter of iptables-legacy", for nftables may have a table of the
same family and name.
"""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIX = " of iptables-legacy"
PROGRAMS = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
NAMES = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}  # the tables in use; below NET
NET = Path("/proc/thread-self/net")
TIMEOUT = 10.0  # seconds
HOOKS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
INTERFACES = {"-i": "iifname", "-o": "oifname"}
MODULES = {"conntrack", "state", "comment", "tcp", "udp"}  # that match every packet unless an option follows
TARGETS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return", "NFQUEUE": "queue"}
PASSES = {"LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "TRACE", "SET", "CLASSIFY"}
UNKNOWN: dict[str, Any] = {"xt": None}  # matches some packets, nobody knows which

Object = dict[str, Any]  # {"chain": {…}} or {"rule": {…}}
Chain = tuple[str, str, str]  # family, table, name


def read() -> list[Object]:
    """The chains and rules of this network namespace; none where they are not in use, or cannot be read."""
    found: list[Object] = []
    for family in PROGRAMS:
        try:
            if (NET / NAMES[family]).read_text("ascii").strip():
                found += objects(family, _run(family, "-save"))
        except OSError:
            continue
    return found


def objects(family: str, saved: str) -> Iterator[Object]:
    """What `iptables-legacy-save` has printed."""
    table, chains = "", set[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains = line[1:], set()
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            chains.add(name)
            base = {"hook": name.lower(), "policy": policy.lower(), "type": "nat" if table == "nat" else "filter"}
            place = {"family": family, "table": table + SUFFIX, "name": name}
            yield {"chain": {**place, **(base if policy != "-" and name in HOOKS else {})}}
        elif line.startswith("-A "):
            _, chain, *words = shlex.split(line)
            place = {"family": family, "table": table + SUFFIX, "chain": chain}
            yield {"rule": {**place, "expr": list(_expressions(words, chains))}}


def _expressions(words: list[str], chains: set[str]) -> Iterator[dict[str, Any]]:
    """A rule, word by word; what is not known here counts as a match of some packets."""
    rest = iter(words)
    equal = "=="
    for word in rest:
        if word == "!":
            equal = "!="
            continue
        match word:
            case "-i" | "-o":
                name = next(rest)
                yield _match(
                    {"meta": {"key": INTERFACES[word]}}, equal, f"{name[:-1]}*" if name.endswith("+") else name
                )
            case "-p":
                yield _match({"meta": {"key": "l4proto"}}, equal, next(rest))
            case "--ctstate" | "--state":
                yield _match({"ct": {"key": "state"}}, equal, next(rest).lower().split(","))
            case "--comment":
                next(rest)
            case "-m":
                if next(rest) not in MODULES:
                    yield UNKNOWN
            case "-j" | "-g":
                yield from _verdict(next(rest), "goto" if word == "-g" else "jump", chains)
                return  # what follows are options of the target
            case _:
                yield UNKNOWN
        equal = "=="


def _match(left: dict[str, Any], equal: str, right: str | list[str]) -> dict[str, Any]:
    return {"match": {"left": left, "op": equal, "right": right}}


def _verdict(target: str, to_chain: str, chains: set[str]) -> Iterator[dict[str, Any]]:
    if target in chains:
        yield {to_chain: {"target": target}}
    elif target in TARGETS:
        yield {TARGETS[target]: None}
    elif target not in PASSES:
        yield {"queue": None}  # whatever becomes of the packet, it may be accepted


def has(chain: Chain) -> bool:
    """Whether it is a chain of iptables-legacy."""
    return chain[1].endswith(SUFFIX)


def command(chain: Chain, option: str, interface: str) -> list[str]:
    """The command that accepts packets of an interface ("-i" or "-o") before all other rules of a chain."""
    return [PROGRAMS[chain[0]], *_table(chain), "-I", chain[2], option, interface, "-j", "ACCEPT"]


def accept(chain: Chain, match: tuple[str, str], comment: str) -> None:
    """Insert that rule; `match` as nftables has it: ("iifname", "nat64"). Raises OSError."""
    option = next(key for key, name in INTERFACES.items() if name == match[0])
    _, *words = command(chain, option, match[1])
    _run(chain[0], "", *words[:-2], "-m", "comment", "--comment", comment, *words[-2:])


def remove(chain: Chain, comment: str) -> None:
    """Remove the rules with that comment from a chain. Raises OSError."""
    for line in _run(chain[0], "", *_table(chain), "-S", chain[2]).splitlines():
        first, *words = shlex.split(line)
        if first == "-A" and comment in words:
            _run(chain[0], "", *_table(chain), "-D", *words)


def _table(chain: Chain) -> list[str]:
    table = chain[1].removesuffix(SUFFIX)
    return [] if table == "filter" else ["-t", table]


def _run(family: str, suffix: str, *words: str) -> str:
    """What a program of iptables-legacy prints. Raises OSError."""
    command = (PROGRAMS[family] + suffix, *words)
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT, text=True)  # noqa: S603
    except subprocess.TimeoutExpired as failure:
        raise OSError(f"{command[0]} does not answer") from failure
    if done.returncode:
        raise OSError(" ".join(done.stderr.split()))
    return done.stdout
