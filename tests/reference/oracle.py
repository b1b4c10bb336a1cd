"""The reference translator: RFC 6146 section 3 in its order, with RFC 7915 for the packets.

It is told what the implementation sent, because some choices are free (the IPv4 transport address of a new binding,
Identification); it checks that they were legal, adopts them, and demands every other octet.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from tests.reference import errors, headers
from tests.reference.addresses import embed, extract
from tests.reference.bib import Host4, Host6
from tests.reference.checks import End, Rules
from tests.reference.configured import Scope, bibs_of, path_of, policy_of, stateless_of, zero_checksums_of
from tests.reference.fragments import FragmentMemory
from tests.reference.mss import limit_of, lowered
from tests.reference.outcome import Expected, Refusal
from tests.reference.quoting import ErrorTranslator
from tests.reference.reading import TCP, UDP, UNREADABLE, Packet, UnreadableError, read
from tests.reference.reassembly import Reassembly
from tests.reference.services import Services
from tests.reference.transport import ports
from tests.reference.trip import Trip
from tests.reference.waiting import Waiting, WaitingSyns


class Oracle:
    """A translator made from a `nat64d.config.Config`, of which it only reads attributes."""

    def __init__(
        self,
        config: Any,
        scope: Scope | None = None,
        bound: Callable[[str, Host6], Host4 | None] = lambda protocol, host6: None,
    ) -> None:
        self.bound, self.scope = bound, scope or Scope()
        self.pool6 = config.pool6
        self.own, self.sends_errors = (config.tun.ipv4, config.tun.ipv6), config.limits.icmp_errors_per_second > 0
        self.bibs, self.services = bibs_of(config), Services(config)
        self.bibs.members, self.bibs.served = self.services.members, self.services.addresses
        self.policy = replace(policy_of(config), resets_until=self.scope.resets_until)
        self.rules = Rules(
            pool6=config.pool6,
            clients=self.services.prefixes,
            strict_well_known_prefix=config.strict_well_known_prefix,
            denylist4=tuple(config.translation.denylist4),
            zero_checksums=zero_checksums_of(config),
            drop_icmp_info=config.filtering.drop_icmp_info,
            others=any("other" in row.protocols for row in config.pool4),
            gathers_icmp=bool(config.clat and config.limits.fragments_memory),
        )
        self.path, (self.mss, self.service_mss) = path_of(config), limit_of(config)
        self.syns = WaitingSyns(config.timeouts.tcp_incoming_syn)
        self.fragments = FragmentMemory(config.timeouts.fragment)
        self.reassembly = Reassembly(self, config.timeouts.fragment) if config.limits.fragments_memory else None
        self.stateless = stateless_of(config, self.path, self.scope, self.bibs)
        self.is_stateful = self.stateless.has_state
        self.errors = ErrorTranslator(
            self.bibs,
            self.rules,
            self.path,
            list(config.translation.mtu_plateaus),
            self.scope.extensions,
            self.rules.others,
            self.scope.errors_need_session,
            self.returns,
            self.stateless,
            self.services,
        )

    def returns(self, address: IPv4Address) -> bool:
        """RFC 6146 3.8, RFC 7757 4.2.2: it is an IPv6 host's behind us."""
        return self.bibs.is_ours(address) or (self.stateless.hairpin == "intrinsic" and self.has_row(address))

    def under(self, prefix: IPv6Network | None, address: IPv4Address) -> IPv6Address:
        """How an IPv4 host is written under a prefix, None: pool6."""
        return embed(prefix or self.pool6, address)

    def taken_out(self, address: IPv6Address) -> tuple[IPv6Network | None, IPv4Address] | None:
        """The prefix that an address stands under (None: pool6), and the IPv4 address; None if it does not."""
        prefix = self.rules.prefix_of(address)
        if prefix is None:
            return None
        return None if prefix == self.pool6 else prefix, extract(prefix, address)

    def has_row(self, address: IPv4Address) -> bool:
        return self.stateless.has_row(address)

    def ends(self, packet: Packet, static: bool, is_turned: bool = False) -> list[End]:
        """The IPv4 addresses that a packet has, or that RFC 7757 or RFC 6052 give it; `is_turned`: one that an ICMP
        error quotes, with its addresses turned round.
        """
        if isinstance(packet.source, IPv4Address) and isinstance(packet.destination, IPv4Address):
            source, destination = packet.source, packet.destination
            by_row = static and self.has_row(source)
            known = ports(packet) if packet.is_first else None if is_turned else self.fragments.recall(packet)
            port = known[0 if is_turned else 1] if known else None  # turned round are its addresses only
            embedded, prefix = self.services.written(packet, port, self.bibs) or (not by_row, None)
            return [
                End(source, embedded, self.bibs.is_ours(source), is_source=True, prefix=prefix),
                End(destination, static and not self.has_row(destination), self.bibs.is_ours(destination)),
            ]
        there, here = self.stateless.to_ipv4(packet.destination), self.stateless.to_ipv4(packet.source)
        if not static:
            stands = self.taken_out(packet.destination)  # type: ignore[arg-type]
            return [End(stands[1], True, self.bibs.is_ours(stands[1]), prefix=stands[0])] if stands else []
        found = [] if there is None else [End(there.address, there.embedded, self.bibs.is_ours(there.address))]
        if here is not None:
            found.append(End(here.address, here.embedded, self.bibs.is_ours(here.address), is_source=True))
        return found

    def expire(self, at: float) -> list[bytes]:
        """Let `at` seconds come; returns the packets of our own that are due."""
        self.fragments.expire(at)
        if self.reassembly is not None:
            self.reassembly.expire(at)
        refused = [self._refusal(one) for one in self.syns.expire(at)]
        probed = self.bibs.expire(at, self.policy.lifetimes["TCP_TRANS"])
        return refused + [
            headers.probe(self.under(entry.prefix, host4), port, *entry.host6) for entry, (host4, port) in probed
        ]

    def _refusal(self, waiting: Waiting) -> bytes:
        """RFC 6146 3.5.2.2: port unreachable, from the address that the SYN went to; RFC 6146 3.8: to an IPv6 host of
        ours in its own family.
        """
        syn = read(waiting.packet, quoted=True)
        if syn.family == 6:
            prefix = self.rules.prefix_of(syn.destination)  # type: ignore[arg-type]
            return errors.build_icmpv6(syn, self.under(prefix, waiting.mapped4[0]), (1, 4), 0)
        return errors.build_icmpv4(syn, waiting.mapped4[0], (3, 3), 0)

    def is_doubtful(self, at: float) -> bool:
        """Something ends in this second. The RFCs count timeouts in seconds: it may be over already, or not yet."""
        ends = *self.bibs.ends(self.policy.lifetimes["TCP_TRANS"]), *(one.expires for one in self.syns.waiting)
        return any(when <= at + 1 and int(when) == int(at) for when in ends)

    def send(self, octets: bytes, at: float, observed: list[bytes], verdict: str = "") -> Expected:
        """What has to become of `octets`, given what the implementation sent for them and its verdict.

        The verdict is of use only where the RFCs leave open whether a packet passes: it tells which tables it may have
        touched. `bound` is asked for the IPv4 transport address of a new binding when no packet shows it.
        """
        due = self.expire(at)
        try:
            packet = read(octets)
        except UnreadableError:
            return Expected([Refusal("8200 3", (*UNREADABLE, "HEADER_CHECKSUM", "EXTENSION_HEADERS"))], due=due)
        if self.reassembly is not None:
            expected, packet = self.reassembly.send(packet, at, observed, verdict)
        else:
            expected = self.translate(packet, at, observed, verdict)
        limit = self.service_mss if expected.of_service else self.mss
        expected.packets = [lowered(one, limit) for one in expected.packets]
        errors.fill_reset(expected, packet)
        errors.fill_echo(expected, packet)
        if self.sends_errors:
            errors.fill_answers(expected, packet, self.own_for(packet), self.own[1])
        if any(refusal.silences for refusal in expected.refusals):
            expected.answers.clear()
        expected.due = due
        return expected

    def own_for(self, packet: Packet) -> IPv4Address | None:
        """Who complains of a packet in IPv4: for its protocol, the address of a service itself."""
        foreign = packet.protocol not in (TCP, UDP, packet.icmp_protocol)
        return packet.destination if foreign and packet.destination in self.services.addresses else self.own[0]  # type: ignore[return-value]

    def translate(self, packet: Packet, at: float, observed: list[bytes], verdict: str) -> Expected:
        """What has to become of a packet that waits for no other."""
        trip = Trip(self, packet, at, observed, verdict)
        return trip.from_ipv6() if packet.family == 6 else trip.from_ipv4()
