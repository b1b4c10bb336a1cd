"""Tells the log of sessions what there was not enough of: each cause once in ten seconds (RFC 8158 section 5.2)."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from nat64d.config.models import Config
from nat64d.config.pool4 import Pool4
from nat64d.config.words import PROTOCOLS
from nat64d.control.throttle import Throttle
from nat64d.gateway.pool_use import PoolUse
from nat64d.gateway.state import Live
from nat64d.natlog.place import Moment
from nat64d.natlog.shortage import Shortage, What
from translator.packet.fields import IPV6_HEADER
from translator.tables.tables import Tables
from translator.verdict import Verdict

POOLS = (Verdict.POOL4_EXHAUSTED, Verdict.PAIRED_FULL)
HOSTS = {Verdict.HOST_SESSIONS: "per_host_sessions", Verdict.HOST_PORTS: "per_host_ports"}
SOURCE6 = slice(8, 24)  # RFC 8200 section 3
# LIMITS
MOST = 16  # addresses that are named at a time


class Shortages:
    """What the workers of a daemon met, as the log has it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._causes = {verdict: Throttle() for verdict in (*POOLS, *HOSTS, Verdict.SESSION_TABLE_FULL)}

    def look(self, moment: Moment) -> None:
        """Tell what is new; before the log of drops, which forgets the packets it has shown."""
        live, reached = self._live, self._live.reached_marks()
        now = live.pools_now()
        if now is None or (config := now[0]).log.sessions == "off":
            return
        found = [
            Shortage(moment.wall, What.PORTS_THRESHOLD, use.pool, most=-(-use.size * config.limits.watermark // 100))
            for use in reached
            if use.pool
        ]
        for verdict, cause in self._causes.items():
            cause.count = sum(int(queue.worker.counters[:, verdict].sum()) for queue in live.queues)
            if cause.due(moment.seconds):
                found += self._said(verdict, *now, moment.wall)
        live.session_log.shortages.extend(found)

    def _said(self, verdict: Verdict, config: Config, tables: Tables, pools: PoolUse, time: int) -> Iterator[Shortage]:
        host6 = self._host6(verdict)
        if verdict in HOSTS and host6:
            most = getattr(config.limits, HOSTS[verdict])
            yield Shortage(time, What.HOST_EXCEEDED, host6=host6.packed, most=most)
        elif verdict == Verdict.SESSION_TABLE_FULL:
            yield Shortage(time, What.SESSIONS_EXCEEDED, most=config.limits.sessions)
        elif verdict in POOLS:
            if verdict == Verdict.POOL4_EXHAUSTED and host6:
                yield from (Shortage(time, What.ADDRESSES_EXHAUSTED, number) for number in serving(config, host6))
            yield from exhausted(pools, tables, time)

    def _host6(self, verdict: Verdict) -> IPv6Address | None:
        """Who sent one of the packets."""
        for queue in self._live.queues:
            octets = queue.worker.samples[verdict]
            if queue.worker.sampled[verdict] >= IPV6_HEADER and octets[0] >> 4 == 6:
                return IPv6Address(octets[SOURCE6].tobytes())
        return None


def serving(config: Config, host6: IPv6Address) -> list[int]:
    """The numbers of the [[pool4]] that serve a host, those with the longest source prefix; the first one is 1."""

    def length(pool: Pool4) -> int:
        return pool.source.prefixlen if pool.source else 0

    of_host = [(n, pool) for n, pool in enumerate(config.pool4, 1) if pool.source is None or host6 in pool.source]
    longest = max((length(pool) for _, pool in of_host), default=0)
    return [number for number, pool in of_host if length(pool) == longest][:MOST]


def exhausted(pools: PoolUse, tables: Tables, time: int) -> Iterator[Shortage]:
    """The addresses all of whose ports are in use, by protocol."""
    for part in pools.parts(tables):
        full = np.flatnonzero(part.shares >= 1) if part.protocol else ()
        for at in full[:MOST]:
            address = IPv4Address(part.addresses[at]).packed
            yield Shortage(time, What.PORTS_EXHAUSTED, mapped4=address, protocol=PROTOCOLS[part.protocol])
