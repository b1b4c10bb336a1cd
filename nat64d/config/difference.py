"""Two configurations: what differs, and what of it a running daemon can change.

EFFECTS has every key there is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, get_origin

from pydantic import BaseModel

from nat64d.config import toml
from nat64d.config.errors import Problem
from nat64d.config.expected import hints
from nat64d.config.models import Config
from nat64d.config.problems import ABSENT, SHOWN

LISTED = 20  # rows of [[name]] that are named one by one, added or removed each; there may be 100,000


class Effect(Enum):
    """What a reload does about a key."""

    LIVE = "it holds from the next packet on"
    SESSIONS = "so it does, and sessions that it does not allow end"
    SERVICES = "so it does for the services that change; all else goes on as it was"
    RESTART = "it is refused: only a start can change it"


_LIVE, _SESSIONS, _SERVICES, _RESTART = Effect

_BY_SECTION: Mapping[str, Mapping[Effect, str]] = {
    # A section that may be missing is a key of its own: whether it is there.
    "": {_SESSIONS: "pool6 strict_well_known_prefix", _LIVE: "dns64 ra", _RESTART: "clat"},
    "pool4": {_SESSIONS: "addresses ports protocols source deterministic"},
    "eam": {_SESSIONS: "ipv4 ipv6"},
    "forward": {_SESSIONS: "protocol ipv4 ipv6"},
    "service": {
        _SERVICES: "name protocol ipv4 ipv6 endpoints client_prefix affinity affinity_timeout sources health",
    },
    "services": {
        _SESSIONS: "client_prefix seed",
        _LIVE: "no_endpoint closed_port endpoint_gone echo announce drain",
        _RESTART: "ipv6_front source6",
    },
    "clat": {_LIVE: "ipv6", _RESTART: "ipv4 plat"},
    "tun": {_LIVE: "ipv4 ipv6", _RESTART: "name mtu queues offload"},
    "host": {_LIVE: "masquerade firewall", _RESTART: "routes sysctls"},
    "timeouts": {
        _LIVE: "udp tcp_established tcp_opening tcp_closing tcp_transitory tcp_incoming_syn icmp service_syn"
        " service_udp fragment"
    },
    "limits": {
        _SESSIONS: "subscriber per_host_sessions per_host_ports pairing port_block blocks port_quarantine",
        _LIVE: "per_host_rate watermark icmp_errors_per_second resets_per_second",
        _RESTART: "sessions service_members fragments_memory",
    },
    # check_rst: what it compares is learnt from when a session begins.
    "filtering": {
        _SESSIONS: "check_rst",
        _LIVE: "address_dependent drop_inbound_tcp drop_icmp_info rst_during_fin reset_unknown",
    },
    "translation": {
        _SESSIONS: "denylist4",
        _LIVE: "mtu4 mtu6 lowest_ipv6_mtu udp_zero_checksum udp_zero_checksum_ports traffic_class mtu_plateaus"
        " rfc6791_ipv4 rfc6791_ipv6 eam_hairpin clamp_mss",
    },
    "dns64": {
        _LIVE: "listen upstream clients exclude exclude_names force_names ranges policy dns46",
        _RESTART: "cache rate processes",
    },
    "ra": {_LIVE: "interface interval default_router rdnss"},
    "api": {_RESTART: "socket mode group http hosts"},
    "fastpath": {_RESTART: "mode interfaces"},
    "state": {_RESTART: "file keep"},
    "log": {_LIVE: "level sessions session_file accounting ipfix ipfix_domain ipfix_refresh format"},
}
EFFECTS: Mapping[tuple[str, str], Effect] = {
    (section, key): effect
    for section, effects in _BY_SECTION.items()
    for effect, keys in effects.items()
    for key in keys.split()
}


class Change(NamedTuple):
    """A key or a row that differs: its place as the file spells it, its values as TOML, None where it is not there."""

    place: str
    before: str | None
    after: str | None
    effect: Effect

    @property
    def clause(self) -> str:
        """The change in words."""
        if self.before is None or self.after is None:
            verb, what = ("added", self.after) if self.before is None else ("removed", self.before)
            return f"{self.place} {verb}{f' ({what})' if what else ''}"
        return f"{self.place} = {self.after} (was {self.before})"


def difference(before: Config, after: Config) -> list[Change]:
    """What differs, in the order of the sections; the order of the rows of [[name]] is no difference."""
    return [change for section in Config.model_fields for change in _in_section(before, after, section)]


def fixed(changes: Iterable[Change], file: str) -> list[Problem]:
    """What of the `changes` a running daemon cannot make; `file` names the configuration they lead to."""
    told = "changing it takes a restart"
    return [
        Problem(file, change.place, change.after or ABSENT, f"nat64d runs with {_named(change.before)}; {told}")
        for change in changes
        if change.effect is Effect.RESTART
    ]


def _named(value: str | None) -> str:
    """A value, or that of a section that is there."""
    return "none" if value is None else value or "it"


def _in_section(before: Config, after: Config, section: str) -> Iterator[Change]:
    old, new = getattr(before, section), getattr(after, section)
    if old is new or old == new:
        return
    if get_origin(hints(Config)[section]) is tuple:
        (effect,) = _BY_SECTION[section]
        yield from _rows(f"[[{section}]]", old, new, effect)
    elif isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for key in type(new).model_fields:
            if getattr(old, key) != getattr(new, key):
                yield Change(f"[{section}] {key}", _text(old, key), _text(new, key), EFFECTS[section, key])
    elif isinstance(old, BaseModel) or isinstance(new, BaseModel):
        yield Change(f"[{section}]", _there(old), _there(new), EFFECTS["", section])
    else:
        yield Change(section, _text(before, section), _text(after, section), EFFECTS["", section])


def _rows(place: str, old: tuple[BaseModel, ...], new: tuple[BaseModel, ...], effect: Effect) -> Iterator[Change]:
    """Rows that went, then rows that came; beyond LISTED their number."""
    then, now = set(map(id, old)), set(map(id, new))
    gone = Counter(row for row in old if id(row) not in now)
    came = Counter(row for row in new if id(row) not in then)
    yield from (Change(place, text, None, effect) for text in _listed(list((gone - came).elements())))
    yield from (Change(place, None, text, effect) for text in _listed(list((came - gone).elements())))


def _listed(rows: list[BaseModel]) -> Iterator[str]:
    yield from (_shown(pairs(row)) for row in rows[:LISTED])
    if len(rows) > LISTED:
        yield f"{len(rows) - LISTED:,} more"


def _there(section: object) -> str | None:
    """The value of a section as a whole."""
    return None if section is None else ""


def _text(table: BaseModel, key: str) -> str | None:
    """The value of a key as TOML, None if it is not set."""
    value = table.model_dump(mode="json", include={key})[key]
    return None if value is None else _shown(toml.value(value))


def pairs(row: BaseModel) -> str:
    """A row as its keys and values, without those that have the default."""
    content: dict[str, Any] = row.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{toml.key(key)} = {toml.value(value)}" for key, value in content.items())


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
