"""[[service]] -> the translator's tables of services, which change while packets pass by them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address
from typing import Any, NamedTuple

import numpy as np
from netaddr import IPSet

from nat64d.config.addresses import Ports
from nat64d.config.endpoint_changes import Same
from nat64d.config.models import Config
from nat64d.config.services import Endpoint, Service
from nat64d.config.words import PROTOCOLS, ranges, words
from translator.session.members import END, EXCLUDE, KEEP, SLICE
from translator.tables.gateway import Gateway
from translator.tables.handles import AS_ADDRESS, FRONT6, NUMBER, VIPS
from translator.tables.hashing import hash3
from translator.tables.layout import FRONT, LEAVING, NONE, records
from translator.tables.tables import HEIGHT, MEMBERS, NAME, NEVER_USED, Tables

Key = tuple[int, int, int]  # protocol, address and port of a front
VIPS6 = 1 << 17  # rows for IPv6 addresses of services; half of them are free at least
Weight = Callable[[Service, Endpoint], int]


class NoRoomError(Exception):
    """The tables have no room for a change. Nothing has been changed."""


class Front(NamedTuple):
    """What a front is to be: its row but for the places of its lists, its name, its members, int64[n, 4] as for
    enter_members, and its sources, int64[n, 2], those of IPv6 int64[n, 4]; the words of its address, if that is one of
    IPv6."""

    row: Any  # FRONT[1]
    name: str
    ends: np.ndarray[Any, Any]
    sources: np.ndarray[Any, Any]
    sources6: np.ndarray[Any, Any]
    vip6: tuple[int, int] | None = None


class Places(NamedTuple):
    """The number of a front, that of its service, and where its lists will lie."""

    number: int
    service: int
    members: int
    sources: int
    sources6: int


def given_weight(_: Service, endpoint: Endpoint) -> int:
    """The weight that the configuration says."""
    return endpoint.weight


def keys_of(config: Config, service: Service) -> Iterator[tuple[Key, str, Ports[Any]]]:
    """What identifies the fronts of a service, and which protocol and transport address each has."""
    handles = handles_of(config) if service.end6 else {}
    for end in service.ends:
        number = int(end.address) if end.address.version == 4 else handles[end.address]
        yield from (((PROTOCOLS[name], number, end.first), name, end) for name in service.protocols)


def handles_of(config: Config) -> Mapping[IPv6Address, int]:
    """The handles of IPv6 addresses of services, as find_vip6 looks for them."""
    return _handles_of(Same(config.service), seed_of(config).tobytes())


@lru_cache(2)  # a change asks for each service
def _handles_of(services: Same, seed: bytes) -> Mapping[IPv6Address, int]:
    return _handles(frozenset(one.end6.address for one in services.services if one.end6), seed)


@lru_cache(2)  # nor do they change with endpoints
def _handles(addresses: frozenset[IPv6Address], given: bytes) -> Mapping[IPv6Address, int]:
    seed, taken, found = np.frombuffer(given, np.int64), set[int](), {}
    for address in sorted(addresses):
        at = int(hash3(seed, *words(address), AS_ADDRESS)) & (VIPS6 - 1)
        while at in taken:
            at = (at + 1) & (VIPS6 - 1)
        taken.add(at)
        found[address] = VIPS + at
    return found


def seed_of(config: Config) -> np.ndarray[Any, Any]:
    """Settings.seed."""
    text = config.services.seed or str(config.services.client_prefix or config.pool6)
    return np.frombuffer(sha256(text.encode()).digest()[:16], "<i8").astype(np.int64)


def prefixes_of(config: Config) -> np.ndarray[Any, Any]:
    """Settings.prefixes: int64[n, 3]."""
    return np.array([(*words(one[0]), one.prefixlen) if one else (0, 0, NONE) for one in config.prefixes], np.int64)


def fronts_of(config: Config, weight: Weight, services: Iterable[Service] | None = None) -> dict[Key, Front]:
    """A front for each protocol and address of each [[service]], or of some of them."""
    prefixes = {prefix: number for number, prefix in enumerate(config.prefixes)}
    found: dict[Key, Front] = {}
    for service in config.service if services is None else services:
        ends, (sources, sources6) = _ends(service, weight), _sources(service)
        for key, _, end in keys_of(config, service):
            row, vip6 = records(1, FRONT), words(end.address) if end.address.version == 6 else None
            row["protocol"], row["address4"], row["port"] = key
            row["hashed"] = int(hash3(seed_of(config), *vip6, AS_ADDRESS)) if vip6 else key[1]
            row["restricted"], row["sources6"] = len(service.sources) > 0, len(sources6)
            row["affinity"] = service.key if service.affinity == "client" else 0
            row["affinity_time"] = service.affinity_timeout * 1000
            row["prefix"] = FRONT6 if vip6 else prefixes[config.client_prefix(service)]
            row["weighted"], row["count"], row["sources"] = _is_weighted(ends[:, 3]), len(ends), len(sources)
            found[key] = Front(row, service.name, ends, sources, sources6, vip6)
    return found


def _ends(service: Service, weight: Weight) -> np.ndarray[Any, Any]:
    """Its endpoints as members: Front.ends."""
    places = service.places
    ends = np.empty((len(places), 4), np.int64)
    octets = b"".join(number.to_bytes(16, "big") for (number, _), _ in places)
    ends[:, :2] = np.frombuffer(octets, ">i8").reshape(-1, 2)
    ends[:, 2] = [port for (_, port), _ in places]
    ends[:, 3] = [weight(service, endpoint) for _, endpoint in places]
    return ends


def _sources(service: Service) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The ranges of IPv4 addresses that it serves, and the IPv6 prefixes with their masks."""
    if not service.sources:
        return np.zeros((0, 2), np.int64), np.zeros((0, 4), np.int64)
    of4 = ranges(IPSet(str(one) for one in service.sources if one.version == 4))
    of6 = [(*words(one[0]), *words(one.netmask)) for one in service.sources if one.version == 6]
    return of4, np.array(of6, np.int64).reshape(-1, 4)


def numbers_of(tables: Tables) -> dict[Key, int]:
    """The fronts there are, and their numbers."""
    there = np.flatnonzero(tables.fronts.view(np.ndarray)["protocol"])
    rows = tables.fronts.view(np.ndarray)[there]
    keys = zip(*(rows[name].tolist() for name in ("protocol", "address4", "port")), strict=True)
    return dict(zip(keys, there.tolist(), strict=True))


def names_of(tables: Tables, fronts: np.ndarray[Any, Any] | None = None) -> dict[int, str]:
    """What services are called, by their numbers: the rows of Tables.names. `fronts`: those there are, if known."""
    if fronts is None:
        fronts = tables.fronts.view(np.ndarray)
        fronts = fronts[np.flatnonzero(fronts["protocol"])]
    numbers = np.unique(fronts["service"])
    names = tables.names[numbers].view(f"S{NAME}").ravel().tolist()
    return {number: name.decode() for number, name in zip(numbers.tolist(), names, strict=True)}


def change_fronts(code: Any, gateway: Gateway, now: int, wanted: Mapping[Key, Front | None], gone: int = KEEP) -> int:
    """Let fronts be so from now on, None: not at all; others stay. `code`: the functions of session/members.py; `gone`:
    what becomes of connections of members that go. Returns how many sessions have ended. Raises NoRoomError."""
    tables, numbers = gateway.tables, numbers_of(gateway.tables)
    nothing = np.zeros((0, 4), np.int64)
    absent = Front(records(1, FRONT), "", nothing, np.zeros((0, 2), np.int64), nothing)
    fronts = {key: front or absent for key, front in wanted.items() if front is not None or key in numbers}
    places = _places(tables, numbers, fronts)
    return sum(_change(code, gateway, now, front, places[key], gone) for key, front in fronts.items())


def weigh(tables: Tables, config: Config, weight: Weight) -> None:
    """Give each member the weight that its endpoint has in its service; packets may pass meanwhile, but no change be
    made."""
    numbers = numbers_of(tables)
    for service in config.service:
        weights = [weight(service, endpoint) for endpoint in service.ordered]
        for key, _, _ in keys_of(config, service):
            row = tables.fronts[numbers[key]]
            tables.members["weight"][row.first : row.first + row.count] = weights
            row.weighted = _is_weighted(np.array(weights, np.int64))


def _is_weighted(weights: np.ndarray[Any, Any]) -> bool:
    new = weights[weights > 0]
    return len(new) > 0 and bool((new != new[0]).any())


# ---- where things lie


def _places(tables: Tables, numbers: Mapping[Key, int], fronts: Mapping[Key, Front]) -> dict[Key, Places]:
    """A place for each of some fronts, and for its lists where nothing lies. Raises NoRoomError."""
    there = np.array(sorted(numbers.values()), np.int64)
    rows = tables.fronts.view(np.ndarray)[there]
    free_numbers = iter(np.setdiff1d(np.arange(min(len(there) + len(fronts), len(tables.fronts))), there).tolist())
    members = _gaps(rows["first"], rows["count"], len(tables.members))
    sources = _gaps(rows["first_source"], rows["sources"], len(tables.sources))
    sources6 = _gaps(rows["first_source6"], rows["sources6"], len(tables.sources6))
    left = len(tables.members) - int(tables.free[MEMBERS, NEVER_USED] - tables.free[MEMBERS, HEIGHT])
    services, places = _services(tables, rows, [one.name for one in fronts.values() if one.row[0].protocol]), {}
    for key, front in fronts.items():
        number = numbers.get(key)
        left -= len(front.ends) - (_shared(tables, number, front.ends) if number is not None else 0)
        places[key] = Places(
            next(free_numbers, NONE) if number is None else number,
            services.get(front.name, 0),
            _fit(members, len(front.ends)),
            _fit(sources, len(front.sources)),
            _fit(sources6, len(front.sources6)),
        )
    if left < 0 or any(NONE in place for place in places.values()):
        raise NoRoomError
    return places


def _services(tables: Tables, fronts: np.ndarray[Any, Any], names: Iterable[str]) -> dict[str, int]:
    """The numbers of services with these names: those they have, or others that no service has."""
    used = names_of(tables, fronts)
    known = {name: number for number, name in used.items()}
    free = (number for number in range(len(tables.names)) if number not in used)
    return {name: known[name] if name in known else next(free, NONE) for name in dict.fromkeys(names)}


def _shared(tables: Tables, number: int, ends: np.ndarray[Any, Any]) -> int:
    """How many members a front has already."""
    row = tables.fronts[number]
    own = tables.bibs.view(np.ndarray)[tables.members["bib"][row.first : row.first + row.count]]
    there = set(zip(*(own[name].tolist() for name in ("host6_hi", "host6_lo", "host6_port")), strict=True))
    return len(there.intersection(map(tuple, ends[:, :3].tolist())))


def _gaps(first: Any, count: Any, size: int) -> list[list[int]]:
    """Where lists do not lie: the begin and the end of each gap, in their order."""
    used = np.flatnonzero(count)
    used = used[np.argsort(first[used])]
    begins, ends = [0, *(first + count)[used].tolist()], [*first[used].tolist(), size]
    return [[begin, end] for begin, end in zip(begins, ends, strict=True) if begin < end]


def _fit(gaps: list[list[int]], count: int) -> int:
    """The place of a list in the first gap that has room for it, or NONE."""
    if count == 0:
        return 0
    for gap in gaps:
        if gap[1] - gap[0] >= count:
            gap[0] += count
            return gap[0] - count
    return NONE


# ---- one front


def _change(code: Any, gateway: Gateway, now: int, front: Front, places: Places, gone: int) -> int:
    """Let a front be so from now on; returns how many sessions have ended."""
    tables, number = gateway.tables, places.number
    old = tables.fronts[number]
    before = tables.members["bib"][old.first : old.first + old.count].copy()
    sources = tables.sources[old.first_source : old.first_source + old.sources].copy()
    sources6 = tables.sources6[old.first_source6 : old.first_source6 + old.sources6].copy()
    row = front.row.copy()
    row["first"], row["first_source"], row["service"] = places.members, places.sources, places.service
    row["first_source6"] = places.sources6
    tables.sources[places.sources :][: len(front.sources)] = front.sources
    tables.sources6[places.sources6 :][: len(front.sources6)] = front.sources6
    if front.vip6:
        tables.vips6[row[0].address4 & NUMBER] = front.vip6
    if row[0].protocol:
        _name(tables, places.service, front.name)
    for at, ends in _slices(front.ends):
        assert code.enter_members(gateway, row, number, places.members + at, ends) == len(ends)
    code.change_front(gateway, row, number)
    after = tables.members["bib"][places.members :][: len(front.ends)]
    stay = set(after.tolist())
    left = np.array([bib for bib in before.tolist() if bib not in stay], np.int64)
    ended = _retire(code, gateway, now, left, gone)
    same = np.array_equal(sources, front.sources) and np.array_equal(sources6, front.sources6)
    if row[0].restricted and not same:
        ended += sum(
            _review(code, gateway, now, bib, number, EXCLUDE) for bib in (*after.tolist(), *_leaving(tables, row))
        )
    return ended


def _leaving(tables: Tables, row: Any) -> list[int]:
    """The members that a front had once, and that a session still has."""
    bibs = tables.bibs.view(np.ndarray)[: len(tables.members)]
    own = (bibs["mapped4"] == row[0].address4) & (bibs["mapped4_port"] == row[0].port)
    there: list[int] = np.flatnonzero(own & (bibs["protocol"] == row[0].protocol) & (bibs["live"] == LEAVING)).tolist()
    return there


def _name(tables: Tables, service: int, name: str) -> None:
    """Let a service be called so. One that was called otherwise was another, and this one is counted from now on."""
    row = np.frombuffer(name.encode().ljust(NAME, b"\0"), np.uint8)
    if not np.array_equal(tables.names[service], row):
        tables.names[service], tables.flows[service], tables.refused[service] = row, 0, 0


def _retire(code: Any, gateway: Gateway, now: int, bibs: np.ndarray[Any, Any], gone: int) -> int:
    """These members are of no front any more: their datagrams go elsewhere at once. Returns how many sessions have
    ended."""
    rows, ended = gateway.tables.bibs, 0
    for _, some in _slices(bibs):
        code.retire_members(gateway, some)
    for bib in bibs.tolist():
        fate = END if rows[bib].protocol == PROTOCOLS["udp"] else gone
        if rows[bib].live == LEAVING and fate != KEEP:
            ended += _review(code, gateway, now, bib, NONE, fate)
    return ended


def _review(code: Any, gateway: Gateway, now: int, bib: int, number: int, fate: int) -> int:
    before, entry = int(gateway.tables.bibs[bib].sessions), gateway.tables.bibs[bib]
    session = code.review_sessions(gateway, now, bib, NONE, number, fate)
    while session != NONE:
        session = code.review_sessions(gateway, now, bib, session, number, fate)
    return max(before - int(entry.sessions), 0)


def _slices(rows: np.ndarray[Any, Any]) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """So many at once that the lock is held briefly."""
    return ((at, rows[at : at + SLICE]) for at in range(0, len(rows), SLICE))
