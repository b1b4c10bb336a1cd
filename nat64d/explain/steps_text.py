"""What the recorded walk of a packet found, for people: from the calls of the translator to the lines of
`nat64d explain`."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Any, NamedTuple

from nat64d.config.words import address6
from nat64d.control.output import endpoint
from nat64d.explain.header_text import headers, hexadecimal, summary
from nat64d.explain.other_steps import other_steps
from nat64d.explain.service_text import address_text, service_lines
from nat64d.explain.step import Step
from nat64d.offline.engine import Ended
from translator.explain import Call
from translator.fragments.reassembly import GATHERING
from translator.packet.fields import ICMP, TCP, UDP
from translator.packet.parse import View
from translator.packet.tuples import Tuple
from translator.session.pool4 import SLOTS
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway
from translator.tables.layout import NONE
from translator.tables.records import Record
from translator.tables.settings import Settings
from translator.tables.wheel import Timeout
from translator.verdict import Ask, Verdict

PROTOCOLS = {TCP: "TCP", UDP: "UDP", ICMP: "ICMP"}
# How a fragment may end that cannot go by itself.
FRAGMENT_VERDICTS = (
    *(Verdict.FRAGMENT_UNKNOWN, Verdict.FRAGMENTED_ICMP, Verdict.ZERO_UDP_CHECKSUM, Verdict.FRAGMENT_OVERLAP),
    Verdict.BAD_LENGTH,
)
LIMITED = "none: [limits] icmp_errors_per_second is reached"
FORBIDDEN = "none: no error may be sent about such a packet (RFC 1122 3.2.2, RFC 4443 2.4)"


class Round(NamedTuple):
    """The calls of one `translate`, and of the `parse` before it: a packet, or a datagram that it made whole."""

    parse: Call
    translate: Call

    @property
    def view(self) -> View:
        """The parsed packet."""
        return self.parse.result  # type: ignore[no-any-return]

    @property
    def verdict(self) -> Verdict:
        """How it ended."""
        return Verdict(self.translate.result.verdict)  # type: ignore[call-arg]  # its rows have more columns

    def result(self, name: str) -> Any:
        """What a function gave back, None if it was not called."""
        call = self.translate.first(name)
        return call.result if call else None

    def binds(self) -> list[Call]:
        """The searches for the other family's tuple (RFC 6146 sections 3.5, 3.6, RFC 7757); hairpinned there are
        two."""
        return list(self.translate.find("bind", "bind_front6"))


class Part(NamedTuple):
    """What one incoming packet, or one kept fragment, became: the rounds of its `translate_or_answer`, and how many
    packets."""

    rounds: list[Round]
    answer: Call | None  # of answer_sender, or reset_sender
    outputs: int


def parts_of(calls: list[Call]) -> list[Part]:
    """The packet itself and the kept fragments that it released."""
    parts: list[Part] = []
    for call in calls:
        whole = call if call.name == "translate_or_answer" else call.first("translate_or_answer")
        if whole is not None:
            parses, translates = ([c for c in whole.calls if c.name == name] for name in ("parse", "translate"))
            rounds = [Round(*pair) for pair in zip(parses, translates, strict=True)]
            parts.append(Part(rounds, whole.first("answer_sender") or whole.first("reset_sender"), 0))
        sent = call.name in ("first_output", "next_output") and call.result.end > call.result.at
        if sent and not call.result.outcome.answer:
            parts[-1] = parts[-1]._replace(outputs=parts[-1].outputs + 1)
    return parts


def steps_of(gateway: Gateway, now: int, calls: list[Call], outcome: Ended) -> Iterator[Step]:
    """Every step that a packet came to, and its end; `now`: milliseconds, when it came."""
    first, *released = parts_of(calls)
    *fragments, last = first.rounds
    for one in fragments:
        yield from _last_fragment(gateway, now, one, last)
    yield from _round(gateway, now, last)
    written = iter(outcome.packets)
    own = [*islice(written, first.outputs)]
    if own:
        packet = last.parse.octets
        yield Step("before", "", [*headers(packet), *hexadecimal(packet)])
    yield from map(_translated, own)
    for part in released:
        one = part.rounds[-1]
        text = f"kept until this one came: {_parsed(one.view, one.view.end - one.view.l3)}"
        yield Step("released", "6146 3.4", [f"{text}: {_name(one.verdict)}"])
        yield from map(_translated, islice(written, part.outputs))
    if first.answer is not None:
        due = first.answer.first("may_be_answered")
        text = summary(outcome.answer) if outcome.answer else LIMITED if due and due.result else FORBIDDEN
        section = "9293 3.5.2" if first.answer.name == "reset_sender" else _towards(last, "4.4", "5.4")
        yield Step("answer", section, [text])
    yield Step("verdict", _section(last.verdict), [f"{_name(last.verdict)}: {last.verdict.help}"])


def _round(gateway: Gateway, now: int, one: Round) -> Iterator[Step]:
    """The steps of one packet up to its verdict."""
    view, binds, quoted = one.view, one.binds(), one.result("parse_quoted")
    yield _parse_step(one)
    if view.verdict == Verdict.CONTINUE and quoted is None and not binds:
        yield Step("examine", _section(one.verdict), [_name(one.verdict)])
    if quoted is not None:
        octets = quoted.end - quoted.l3 if quoted.verdict == Verdict.CONTINUE else 0
        yield Step("quoted packet", _towards(one, "4.3", "5.3"), [_parsed(quoted, octets)])
    for number, bind in enumerate(binds):
        if number:
            returned = IPv4Address(int(bind.arguments[3].dst.lo))
            text = f"{returned} is an address of this gateway: looked up again, as if it came from IPv4"
            yield Step("hairpin", "6146 3.8", [text])
        yield from _search(gateway, now, bind)
    yield from _fragment(gateway.settings, now, one, binds)
    yield from _stored(gateway.settings, one)
    yield from _error(gateway.settings, one)
    yield from other_steps(one.translate)
    yield from _planned(gateway.settings, one, binds)
    if was := one.result("lower_mss"):
        text = f"the MSS, {was}, is lowered to {one.result('mss_of')} ([translation] clamp_mss)"
        yield Step("MSS", "9293 3.7.1", [text])


def _parse_step(one: Round) -> Step:
    return Step("parse", "791 3.1" if one.view.family == 4 else "8200 3", [_parsed(one.view, len(one.parse.octets))])


def _last_fragment(gateway: Gateway, now: int, one: Round, whole: Round) -> Iterator[Step]:
    """The steps of a fragment that made its datagram whole, which now is a packet."""
    yield _parse_step(one)
    for bind in one.binds():
        yield from _search(gateway, now, bind)
    admitted = one.translate.first("admit_fragment")
    assert admitted is not None
    assert admitted.after is not None
    octets = len(whole.parse.octets)
    text = f"the last that was missing: {admitted.after.count} fragments are one packet of {octets} octets"
    yield Step("fragment", "6146 3.4", [text])


def _translated(written: bytes) -> Step:
    return Step("translate", "6146 3.7", [*headers(written), *hexadecimal(written)])


def _name(verdict: Verdict) -> str:
    return verdict.name.lower()


def _section(verdict: Verdict) -> str:
    return verdict.section.replace("LIMITS", "")


def _towards(one: Round, from4: str, from6: str) -> str:
    """The section of RFC 7915 about packets from this one's family."""
    return f"7915 {from4 if one.view.family == 4 else from6}"


def _parsed(view: View, octets: int) -> str:
    if view.verdict != Verdict.CONTINUE:
        return f"{_name(view.verdict)}, {octets} octets" if octets else _name(view.verdict)
    fragment = "not a fragment"
    if view.fragment_offset or view.more_fragments:
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
    """An address; what is under a prefix of length 96 ends in the IPv4 address it stands for."""
    if family == 4:
        return str(IPv4Address(int(lo)))
    address = address6(hi, lo)
    prefix = str(IPv6Address(int(address) >> 32 << 32))
    if prefix in _prefixes96(settings) and prefix.endswith("::") and prefix.count(":") <= 6:
        return prefix + str(IPv4Address(int(address) & 0xFFFFFFFF))
    return str(address)


def _prefixes96(settings: Settings) -> list[str]:
    return [str(address6(hi, lo)) for hi, lo, length in settings.prefixes.tolist() if length == 96]


def _tuple(settings: Settings, t: Tuple, ports: bool = True) -> str:
    source = _address(settings, t.family, t.src.hi, t.src.lo)
    destination = _address(settings, t.family, t.dst.hi, t.dst.lo)
    if t.protocol in (TCP, UDP) and ports:
        source, destination = endpoint(source, int(t.src.port)), endpoint(destination, int(t.dst.port))
    text = f"{source} > {destination} {PROTOCOLS.get(t.protocol, f'protocol {t.protocol}')}"
    return f"{text} identifier {t.src.port | t.dst.port}" if t.protocol == ICMP and ports else text


def _search(gateway: Gateway, now: int, bind: Call) -> Iterator[Step]:
    """The steps of one search."""
    settings, t = gateway.settings, bind.arguments[3]
    verdict, ask, outgoing, stateful = bind.result
    ports = ask != Ask.FRAGMENTS
    yield Step("incoming tuple", "6146 3.4", [_tuple(settings, t, ports)])
    if len(settings.eam) or not settings.stateful:
        yield Step("static mapping", "7757 3.3", [_mapped(settings, t, bind)])
    passed = verdict == Verdict.CONTINUE and ask == Ask.NOBODY
    if stateful:
        refused = [] if passed else [_name(verdict)]
        yield Step("filter, update", "6146 3.5", [*_tables(gateway, now, bind), *refused])
    elif not passed and ports:
        yield Step("addresses", _section(verdict), [_name(verdict)])
    if passed:
        yield Step("outgoing tuple", "6146 3.6", [_tuple(settings, outgoing)])


def _mapped(settings: Settings, t: Tuple, bind: Call) -> str:
    """The [[eam]] row of the host behind us, if one was found."""
    function, behind = ("find_eam6", t.src) if t.family == 6 else ("find_eam4", t.dst)
    found = (c.result for c in bind.find(function) if c.arguments[1][:2] == behind[:2] and c.result != NONE)
    at = next(found, NONE)
    if at != NONE:
        row = settings.eam[at]
        address = address6(row.ipv6_hi, row.ipv6_lo)
        return f"[[eam]] {IPv4Address(int(row.ipv4))}/{row.length4} <> {address}/{row.length6}"
    return "no [[eam]] for the host behind us: " + ("the session tables" if settings.stateful else "pool6 (RFC 6052)")


def _tables(gateway: Gateway, now: int, bind: Call) -> Iterator[str]:
    """What was found in, or written into, the BIB and the session table."""
    found = [c for c in bind.find("find_session4", "find_session6", "create_session", "touch") if c.after is not None]
    session = found[-1] if found else None
    bibs = [c for c in bind.find("living_bib", "create_bib") if c.after is not None]
    bib = bibs[-1].after if bibs else gateway.tables.bibs[session.after.bib] if session and session.after else None
    served = list(service_lines(gateway, bind, session.after if session else None))
    if served or bib is None:
        yield from served or ["no BIB entry"]
        if session and served:
            yield _session(gateway, now, session)
        return
    opened = bool(bibs) and bibs[-1].name == "create_bib"
    kind = "new BIB entry" if opened else "static BIB entry" if bib.static else "BIB entry"
    host6 = endpoint(str(address6(bib.host6_hi, bib.host6_lo)), int(bib.host6_port))
    yield (f"{kind} {host6} <> {IPv4Address(int(bib.mapped4))}:{bib.mapped4_port}{_pool(gateway.settings, bib)}")
    displaced = bind.first("displace")
    if displaced is not None and displaced.result[1] >= 0:
        yield "its port was that of a mapping which nobody had answered, and which ended"
    unpinned = bind.first("pass_unpinned") is not None
    none = "and none is opened" + (": those that count as opened from IPv4 have their share" if unpinned else "")
    yield _session(gateway, now, session) if session else f"no session, {none}"


def _session(gateway: Gateway, now: int, call: Call) -> str:
    """A session that was found, touched or opened."""
    session, opened, timer = call.after, call.name == "create_session", Timeout.KEEP
    assert session is not None
    if opened:
        chosen = call.first("first_timeout")
        timer = Timeout(int(chosen.result)) if chosen else timer
    elif call.name == "touch":
        timer = Timeout(int(call.result))
    host4 = endpoint(address_text(gateway.tables, session.host4), int(session.host4_port))
    lifetime = f"expires in {_seconds(session, now)}"
    if timer != Timeout.KEEP:
        given = call.first("lifetime")
        short = given is not None and given.result < given.arguments[0].settings.timeouts[timer]
        lifetime += f" ({timer.name}{', shortened as the table fills' if short else ''})"
    if call.before is not None and call.before.expires != session.expires:
        lifetime += f" instead of {_seconds(call.before, now)}"
    return f"{'new session' if opened else 'session'} with {host4}{_state(call.before, session)}; {lifetime}"


def _seconds(session: Record, now: int) -> str:
    """How long a session lives without another packet."""
    return f"{(int(session.expires) - now) / 1000:.10g} s"


def _state(before: Record | None, session: Record) -> str:
    if session.protocol != TCP:
        return ""
    after = State(session.state).name
    if before is None or before.state == session.state:
        return f", {after}"
    return f", {State(before.state).name} -> {after}"


def _pool(settings: Settings, bib: Record) -> str:
    """The row of pool4 a mapping is from, and the block of ports."""
    if bib.slot == NONE:
        return ""
    row, size = settings.pool[int(bib.slot) // SLOTS], settings.port_block
    first = int(bib.mapped4_port - (bib.mapped4_port - row.port_first) % size) if size else 0
    block = f", block {first}-{first + size - 1}" if size and not bib.static else ""
    return f", pool4 {IPv4Address(int(row.address))} ports {row.port_first}-{row.port_last}{block}"


def _fragment(settings: Settings, now: int, one: Round, binds: list[Call]) -> Iterator[Step]:
    """What the memory of fragments knows, if it was asked."""
    bound, admitted = one.result("bind_fragment"), one.translate.first("admit_fragment")
    if bound is None:
        return
    if admitted is not None and bound.verdict == Verdict.CONTINUE:
        text = f"as its first fragment: {_tuple(settings, bound.outgoing, False)}"
    elif one.translate.first("remember") is not None:
        seconds = settings.timeouts[Timeout.FRAGMENT_MIN] / 1000
        text = f"remembered for {seconds:g} s, for the fragments that follow"
    elif admitted is not None and admitted.after is not None and bound.verdict == Verdict.HELD:
        kept = admitted.after
        until = "its datagram is whole" if kept.stage == GATHERING else "its first fragment comes"
        seconds = (kept.expires - now) / 1000
        text = f"kept until {until}, for {seconds:g} s; of its datagram there are {kept.count}"
    elif one.verdict in FRAGMENT_VERDICTS and binds:
        text = _name(one.verdict)
    else:
        return
    yield Step("fragment", "6146 3.4", [text])


def _stored(settings: Settings, one: Round) -> Iterator[Step]:
    """What becomes of a SYN that matches no session."""
    if one.verdict == Verdict.SYN_HELD:
        seconds = settings.timeouts[Timeout.TCP_INCOMING_SYN] / 1000
        text = f"kept for {seconds:g} s, for the SYN of the IPv6 host; then its sender is told, port unreachable"
        yield Step("stored SYN", "6146 3.5.2.2", [text])


def _error(settings: Settings, one: Round) -> Iterator[Step]:
    """Between which addresses an ICMP error goes, which are not those it quotes."""
    found = one.result("error_addresses")
    if found is not None:
        verdict, src, dst = found
        family = one.result("bind_packet").outgoing.family
        ends = f"{_address(settings, family, src.hi, src.lo)} > {_address(settings, family, dst.hi, dst.lo)}"
        text = ends if verdict == Verdict.CONTINUE else _name(verdict)
        yield Step("error addresses", _towards(one, "4.1", "5.1"), [text])


def _planned(settings: Settings, one: Round, binds: list[Call]) -> Iterator[Step]:
    """The last possible verdict."""
    error, plan = one.result("plan_error"), one.result("plan_output")
    if error is not None and error.verdict == Verdict.CONTINUE:
        found = [f"type {error.type}, code {error.code}, rest {error.rest_of_header:#010x}"]
        if error.quote.words:
            size = error.quote.end - error.quote.extension
            found.append(f"extension of {size} octets behind {error.quote.words} words (RFC 4884)")
        yield Step("plan", _towards(one, "4.2", "5.2"), found)
    elif one.verdict == Verdict.ICMP_TYPE and binds:
        yield Step("plan", _towards(one, "4.2", "5.2"), [_name(one.verdict)])
    elif plan is not None:
        yield Step(
            "plan", _towards(one, "4.1", "5.1"), [_plan(settings, plan, one.result("bind_packet").outgoing.family)]
        )


def _plan(settings: Settings, plan: Any, family: int) -> str:
    """How a packet of a family leaves, by its size."""
    mtu = settings.mtu4 if family == 4 else settings.mtu6
    limit = f"mtu{family} {mtu or 'auto: the kernel applies the MTU of the route'}"
    if plan.verdict != Verdict.CONTINUE:
        return f"{_name(plan.verdict)}: {limit}; the sender is told {plan.mtu}"
    if family == 4:
        return f"{'DF' if plan.dont_fragment else 'no DF'}; {limit}"
    if plan.fragment_payload:
        return (
            f"no DF and above lowest_ipv6_mtu {settings.lowest_ipv6_mtu}: fragments of {plan.fragment_payload} octets"
        )
    return f"{'a Fragment header' if plan.fragment_header else 'in one piece'}; {limit}"
