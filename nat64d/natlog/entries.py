"""Entries of the log of sessions, as Python has them and as a line of text.

    2026-03-01T12:00:00.123Z session-created udp [2001:db8::10]:5000 198.51.100.1:2000 203.0.113.5:53 inside
    2026-03-01T12:00:00.123Z mapping-created udp [2001:db8::10]:5000 198.51.100.1:2000 inside
    2026-03-01T12:05:00.456Z session-ended udp [2001:db8::10]:5000 198.51.100.1:2000 203.0.113.5:53 expired
        packets_6to4=1 octets_6to4=76 packets_4to6=1 octets_4to6=112             (on one line, with [log] accounting)
    2026-03-01T12:00:00.123Z block-allocated 0 2001:db8::/64 198.51.100.1:2000-2063 inside

Only a line about a session has the IPv4 host (RFC 6888 REQ-12).
"""

import time
from collections.abc import Iterator
from functools import lru_cache
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import NamedTuple

import numpy as np

from nat64d.config.words import PROTOCOLS
from nat64d.control.output import endpoint
from translator.session.log import Cause, Kind
from translator.tables.handles import CLIENTS

NAMES = {number: name for name, number in PROTOCOLS.items()}
KINDS = {kind: kind.name.lower().replace("_", "-") for kind in Kind}
CAUSES = {cause: cause.name.lower() for cause in Cause}
BLOCKS = (Kind.BLOCK_ALLOCATED, Kind.BLOCK_FREED)
SESSIONS = (Kind.SESSION_CREATED, Kind.SESSION_ENDED)
ACCOUNT = ("packets_6to4", "octets_6to4", "packets_4to6", "octets_4to6")


class Entry(NamedTuple):
    """Something that began or ended."""

    time: int  # milliseconds since 1970
    kind: Kind
    cause: Cause
    protocol: int
    host6: bytes  # 16 octets; of a block: the prefix of its subscriber
    host6_port: int
    mapped4: bytes  # 4 octets; 16, as those of host4, of a session of an IPv6 client
    mapped4_port: int  # the first one of a block
    host4: bytes
    host4_port: int
    last_port: int  # of a block
    length: int  # of the subscriber's prefix
    account: tuple[int, ...] | None = None  # what a session that has ended has carried, in the order of ACCOUNT


def entries_of(rows: np.ndarray, epoch: int) -> Iterator[Entry]:
    """LOGGED records as entries. `epoch`: milliseconds since 1970 at which the data plane's clock was 0."""
    host6 = np.stack((rows["host6_hi"], rows["host6_lo"]), axis=1).astype(">i8").tobytes()
    mapped4, host4 = rows["mapped4"].astype(">u4").tobytes(), rows["host4"].astype(">u4").tobytes()
    names = ("time", "kind", "cause", "protocol", "host6_port", "mapped4_port", "host4_port", "last_port", "length")
    vips6, clients6 = (
        np.stack((rows[f"{name}_hi"], rows[f"{name}_lo"]), axis=1).astype(">i8").tobytes()
        for name in ("vip6", "client6")
    )
    columns = zip(*(rows[name].tolist() for name in names), strict=True)
    accounts = np.stack([rows[name] for name in ACCOUNT], axis=1).tolist()
    for n, (at, kind, cause, protocol, port6, port4, peer, last, length) in enumerate(columns):
        address6, address4, remote = host6[16 * n : 16 * n + 16], mapped4[4 * n : 4 * n + 4], host4[4 * n : 4 * n + 4]
        if kind in SESSIONS and int.from_bytes(remote, "big") >= CLIENTS:
            address4, remote = vips6[16 * n : 16 * n + 16], clients6[16 * n : 16 * n + 16]
        counted = kind == Kind.SESSION_ENDED and accounts[n][0] >= 0
        ends = address6, port6, address4, port4, remote, peer
        account = tuple(accounts[n]) if counted else None
        yield Entry(epoch + at, Kind(kind), Cause(cause), protocol, *ends, last, length, account)


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def stamp(milliseconds: int) -> str:
    """A time as ISO 8601 has it, in UTC."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


def protocol_of(entry: Entry) -> str:
    """The name of its protocol, or the number."""
    return NAMES.get(entry.protocol) or str(entry.protocol)


def text(address: bytes) -> str:
    """An address of either family."""
    return inet_ntoa(address) if len(address) == 4 else inet_ntop(AF_INET6, address)


def end(address: bytes, port: int) -> str:
    """A transport address."""
    return endpoint(text(address), port)


def account_of(entry: Entry) -> dict[str, int]:
    """What a session has carried, by name; nothing where that is not known."""
    return dict(zip(ACCOUNT, entry.account, strict=True)) if entry.account else {}


def sentence(entry: Entry) -> str:
    """An entry as a line has it behind the time."""
    head, mapped4 = f"{KINDS[entry.kind]} {protocol_of(entry)}", f"{end(entry.mapped4, entry.mapped4_port)}"
    host6, cause = inet_ntop(AF_INET6, entry.host6), CAUSES[entry.cause]
    if entry.kind in BLOCKS:
        return f"{head} {host6}/{entry.length} {mapped4}-{entry.last_port} {cause}"
    peer = f" {end(entry.host4, entry.host4_port)}" if entry.kind in SESSIONS else ""
    account = "".join(f" {name}={number}" for name, number in account_of(entry).items())
    return f"{head} [{host6}]:{entry.host6_port} {mapped4}{peer} {cause}{account}"


def line(entry: Entry) -> str:
    """An entry as a line, without its end."""
    return f"{stamp(entry.time)} {sentence(entry)}"


def fields(entry: Entry) -> dict[str, object]:
    """An entry as fields of a record of the daemon's log."""
    host6, mapped4 = inet_ntop(AF_INET6, entry.host6), text(entry.mapped4)
    common = {"event": KINDS[entry.kind], "at": stamp(entry.time), "protocol": protocol_of(entry)}
    common |= {"cause": CAUSES[entry.cause], "mapped4": mapped4}
    if entry.kind in BLOCKS:
        ports = {"first_port": entry.mapped4_port, "last_port": entry.last_port}
        return {**common, "subscriber": f"{host6}/{entry.length}", **ports}
    found: dict[str, object] = {"host6": host6, "host6_port": entry.host6_port, "mapped4_port": entry.mapped4_port}
    if entry.kind in SESSIONS:
        found |= {"host4": text(entry.host4), "host4_port": entry.host4_port}
    return {**common, **found, **account_of(entry)}
