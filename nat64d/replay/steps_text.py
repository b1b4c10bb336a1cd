"""What the steps of a packet found, for people: from an Explanation to the lines of `nat64d explain`."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import NamedTuple

import numpy as np

from nat64d.control.text import endpoint
from nat64d.engine import Outcome
from nat64d.replay.header_text import headers, hexadecimal, summary
from nat64d.settings import address6
from translator.explain import Explanation, Pass
from translator.packet.fields import FRAGMENT_HEADER, ICMP, IPV6_HEADER, TCP, UDP
from translator.packet.parse import View, is_fragment
from translator.packet.tuples import Tuple
from translator.session.lifetimes import Timeout
from translator.session.pool4 import SLOTS
from translator.session.reassembly import GATHERING
from translator.session.tcp_state import State
from translator.static.rfc6052 import LENGTHS, in_pool6
from translator.tables import NONE, Settings
from translator.verdict import Event, Verdict

PROTOCOLS = {TCP: "TCP", UDP: "UDP", ICMP: "ICMP"}
# How a fragment may end that cannot go by itself.
FRAGMENT_VERDICTS = (
    *(Verdict.FRAGMENT_UNKNOWN, Verdict.FRAGMENTED_ICMP, Verdict.ZERO_UDP_CHECKSUM, Verdict.FRAGMENT_OVERLAP),
    Verdict.BAD_LENGTH,
)
NOT_ANSWERED = {
    Event.ANSWER_LIMITED: "none: [limits] icmp_errors_per_second is reached",
    Event.ANSWER_UNDUE: "none: no error may be sent about such a packet (RFC 1122 3.2.2, RFC 4443 2.4)",
}


class Step(NamedTuple):
    """One step: its name, the RFC and section it follows, and what it found, a line each."""

    name: str
    rfc: str
    found: list[str]


def steps_of(settings: Settings, now: int, packet: bytes, told: Explanation, outcome: Outcome) -> Iterator[Step]:
    """Every step the packet came to, and its end; `now`: milliseconds, when it came."""
    view, steps = told.view, told.steps
    if told.whole is not None:
        yield from _last_fragment(settings, now, packet, told)
        yield from steps_of(settings, now, told.joined, told.whole, outcome)
        return
    yield Step("parse", "791 3.1" if view.family == 4 else "8200 3", [_parsed(view, len(packet))])
    if view.verdict == Verdict.CONTINUE and steps.quoted is None and not steps.passes:
        yield Step("examine", _section(steps.verdict), [_name(steps.verdict)])
    if steps.quoted is not None:
        quoted = steps.quoted.end - steps.quoted.l3 if steps.quoted.verdict == Verdict.CONTINUE else 0
        yield Step("quoted packet", _towards(told, "4.3", "5.3"), [_parsed(steps.quoted, quoted)])
    for number, one in enumerate(steps.passes):
        if number:
            returned = IPv4Address(int(one.incoming.dst_lo))
            yield Step("hairpin", "6146 3.8", [f"{returned} is ours: once more, as if it came from IPv4"])
        yield from _search(settings, now, one)
    yield from _fragment(settings, now, told)
    yield from _stored(settings, told)
    yield from _planned(settings, told)
    written = iter(outcome.packets)
    own = [*islice(written, _outputs(told))]
    if own:
        yield Step("before", "", [*headers(packet), *hexadecimal(packet)])
    yield from map(_translated, own)
    for next_ in told.released:
        text = f"kept for want of this one: {_parsed(next_.view, next_.view.end - next_.view.l3)}"
        yield Step("released", "6146 3.4", [f"{text}: {_name(next_.steps.verdict)}"])
        yield from map(_translated, islice(written, _outputs(next_)))
    if told.answer is not None:
        text = summary(outcome.answer) if outcome.answer else NOT_ANSWERED[told.answer]
        yield Step("answer", _towards(told, "4.4", "5.4"), [text])
    yield Step("verdict", _section(steps.verdict), [f"{_name(steps.verdict)}: {steps.verdict.help}"])


def _last_fragment(settings: Settings, now: int, packet: bytes, told: Explanation) -> Iterator[Step]:
    """The steps of a fragment that made its datagram whole, which now is a packet."""
    yield Step("parse", "791 3.1" if told.view.family == 4 else "8200 3", [_parsed(told.view, len(packet))])
    for one in told.steps.passes:
        yield from _search(settings, now, one)
    assert told.steps.kept is not None
    text = f"the last that was missing: {told.steps.kept.count} fragments are one packet of {len(told.joined)} octets"
    yield Step("fragment", "6146 3.4", [text])


def _outputs(told: Explanation) -> int:
    """How many packets one became."""
    octets, piece = told.outcome.end - told.outcome.at, told.outcome.piece
    return -(-(octets - IPV6_HEADER - FRAGMENT_HEADER) // piece) if piece else int(octets > 0)


def _translated(written: bytes) -> Step:
    return Step("translate", "6146 3.7", [*headers(written), *hexadecimal(written)])


def _name(verdict: Verdict) -> str:
    return verdict.name.lower()


def _section(verdict: Verdict) -> str:
    return verdict.section.replace("LIMITS", "")


def _towards(told: Explanation, from4: str, from6: str) -> str:
    """The section of RFC 7915 about packets from this one's family."""
    return f"7915 {from4 if told.view.family == 4 else from6}"


def _parsed(view: View, octets: int) -> str:
    if view.verdict != Verdict.CONTINUE:
        return f"{_name(view.verdict)}, {octets} octets" if octets else _name(view.verdict)
    fragment = "not a fragment"
    if is_fragment(view):
        fragment = (
            f"fragment from octet {view.fragment_offset} on, {'more follow' if view.more_fragments else 'the last'}"
        )
    elif view.has_fragment_header:
        fragment = "an atomic fragment"
    hops = "TTL" if view.family == 4 else "hop limit"
    return f"IPv{view.family} {_protocol(view)}, {octets} octets, {hops} {view.hop_limit}, {fragment}"


def _protocol(view: View) -> str:
    if view.transport == ICMP and view.family == 6:
        return "ICMPv6"
    return PROTOCOLS.get(view.transport, f"protocol {view.protocol}")


def _address(settings: Settings, family: int, hi: int, lo: int) -> str:
    """An address; what is under a /96 pool6 ends in the IPv4 address it stands for."""
    if family == 4:
        return str(IPv4Address(int(lo)))
    address = address6(hi, lo)
    prefix = str(IPv6Address(int(address) >> 32 << 32))
    embeds = settings.pool6_row == LENGTHS.index(96) and in_pool6(settings, hi, lo)
    if embeds and prefix.endswith("::") and prefix.count(":") <= 6:
        return prefix + str(IPv4Address(int(address) & 0xFFFFFFFF))
    return str(address)


def _tuple(settings: Settings, t: Tuple, ports: bool = True) -> str:
    source = _address(settings, t.family, t.src_hi, t.src_lo)
    destination = _address(settings, t.family, t.dst_hi, t.dst_lo)
    if t.protocol in (TCP, UDP) and ports:
        source, destination = endpoint(source, int(t.src_port)), endpoint(destination, int(t.dst_port))
    text = f"{source} > {destination} {PROTOCOLS.get(t.protocol, f'protocol {t.protocol}')}"
    return f"{text} identifier {t.src_port | t.dst_port}" if t.protocol == ICMP and ports else text


def _search(settings: Settings, now: int, one: Pass) -> Iterator[Step]:
    """The steps of one pass."""
    ports = one.verdict != Verdict.FRAGMENT_UNKNOWN
    yield Step("incoming tuple", "6146 3.4", [_tuple(settings, one.incoming, ports)])
    if len(settings.eam) or not settings.stateful:
        yield Step("static mapping", "7757 3.3", [_mapped(settings, one)])
    passed = one.verdict == Verdict.CONTINUE
    if one.stateful:
        refused = [] if passed else [_name(one.verdict)]
        yield Step("filter, update", "6146 3.5", [*_tables(settings, now, one), *refused])
    elif not passed and ports:
        yield Step("addresses", _section(one.verdict), [_name(one.verdict)])
    if passed:
        yield Step("outgoing tuple", "6146 3.6", [_tuple(settings, one.outgoing)])


def _mapped(settings: Settings, one: Pass) -> str:
    if one.eam != NONE:
        row = settings.eam[one.eam]
        address = address6(row.ipv6_hi, row.ipv6_lo)
        return f"[[eam]] {IPv4Address(int(row.ipv4))}/{row.length4} <> {address}/{row.length6}"
    return "no [[eam]] for the host behind us: " + ("the session tables" if settings.stateful else "pool6 (RFC 6052)")


def _tables(settings: Settings, now: int, one: Pass) -> Iterator[str]:
    """What was found in, or written into, the BIB and the session table."""
    bib, session = one.after.bib, one.after.session
    if bib is None:
        yield "no BIB entry"
        return
    kind = "new BIB entry" if one.opened_bib else "static BIB entry" if bib.static else "BIB entry"
    host6 = endpoint(str(address6(bib.host6_hi, bib.host6_lo)), int(bib.host6_port))
    yield f"{kind} {host6} <> {IPv4Address(int(bib.mapped4))}:{bib.mapped4_port}{_pool(settings, bib)}"
    if session is None:
        yield "no session, and none is opened"
        return
    host4 = f"{IPv4Address(int(session.host4))}:{session.host4_port}"
    lifetime = f"expires in {_seconds(session, now)}"
    if one.timeout != Timeout.KEEP:
        lifetime += f" ({one.timeout.name})"
    if one.before.session is not None and one.before.session.expires != session.expires:
        lifetime += f" instead of {_seconds(one.before.session, now)}"
    yield f"{'new session' if one.opened_session else 'session'} with {host4}{_state(one, session)}; {lifetime}"


def _seconds(session: np.record, now: int) -> str:
    """How long a session lives without another packet."""
    return f"{(int(session.expires) - now) / 1000:.10g} s"


def _state(one: Pass, session: np.record) -> str:
    if session.protocol != TCP:
        return ""
    before, after = one.before.session, State(session.state).name
    if before is None or before.state == session.state:
        return f", {after}"
    return f", {State(before.state).name} -> {after}"


def _pool(settings: Settings, bib: np.record) -> str:
    """The row of pool4 a mapping is from."""
    if bib.slot == NONE:
        return ""
    row = settings.pool[int(bib.slot) // SLOTS]
    return f", pool4 {IPv4Address(int(row.address))} ports {row.port_first}-{row.port_last}"


def _fragment(settings: Settings, now: int, told: Explanation) -> Iterator[Step]:
    """What the memory of fragments knows, if it was asked."""
    steps = told.steps
    if steps.recalled is not None:
        text = f"as its first fragment: {_tuple(settings, steps.recalled, False)}"
    elif steps.remembered:
        seconds = settings.timeouts[Timeout.FRAGMENT_MIN] / 1000
        text = f"remembered for {seconds:g} s, for the fragments that follow"
    elif steps.kept is not None:
        seconds = (steps.kept.expires - now) / 1000
        until = "its datagram is whole" if steps.kept.stage == GATHERING else "its first fragment comes"
        text = f"kept until {until}, for {seconds:g} s; of its datagram there are {steps.kept.count}"
    elif steps.verdict in FRAGMENT_VERDICTS and steps.passes:
        text = _name(steps.verdict)
    else:
        return
    yield Step("fragment", "6146 3.4", [text])


def _stored(settings: Settings, told: Explanation) -> Iterator[Step]:
    """What becomes of a SYN that nobody expects."""
    if told.steps.verdict == Verdict.SYN_HELD:
        seconds = settings.timeouts[Timeout.TCP_INCOMING_SYN] / 1000
        text = f"kept for {seconds:g} s, for the SYN of the IPv6 host; then its sender is told, port unreachable"
        yield Step("stored SYN", "6146 3.5.2.2", [text])


def _planned(settings: Settings, told: Explanation) -> Iterator[Step]:
    """The last possible verdict."""
    steps, out4 = told.steps, told.outgoing is not None and told.outgoing.family == 4
    if steps.error is not None:
        error = steps.error
        found = [f"type {error.type}, code {error.code}, rest {error.rest:#010x}"]
        if error.quote.words:
            size = error.quote.end - error.quote.extension
            found.append(f"extension of {size} octets behind {error.quote.words} words (RFC 4884)")
        yield Step("plan", _towards(told, "4.2", "5.2"), found)
    elif steps.verdict == Verdict.ICMP_TYPE and steps.passes:
        yield Step("plan", _towards(told, "4.2", "5.2"), [_name(steps.verdict)])
    elif steps.plan is not None:
        plan, mtu = steps.plan, settings.mtu4 if out4 else settings.mtu6
        limit = f"mtu{4 if out4 else 6} {mtu or 'auto: the kernel knows the routes'}"
        if plan.verdict != Verdict.CONTINUE:
            text = f"{_name(plan.verdict)}: {limit}; the sender is told {plan.mtu}"
        elif out4:
            text = f"{'DF' if plan.dont_fragment else 'no DF'}; {limit}"
        elif plan.piece:
            text = f"no DF and above lowest_ipv6_mtu {settings.lowest_ipv6_mtu}: fragments of {plan.piece} octets"
        else:
            text = f"{'a Fragment header' if plan.fragment_header else 'in one piece'}; {limit}"
        yield Step("plan", _towards(told, "4.1", "5.1"), [text])
