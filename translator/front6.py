"""The IPv6 front of services: packets of IPv6 clients, and what endpoints answer them. They stay IPv6.

    C6:cp > VIP6:vp    becomes    C6:cp > E:ep, with ipv6_front = "fullnat" from an address of source6
    E:ep > C6:cp       becomes    VIP6:vp > C6:cp

Which endpoint a flow has, sessions, their times, limits, and what is refused are those of IPv4 clients: handles stand
for the addresses (tables/handles.py). With "dnat" the host hands us all that endpoints send from their ports; what is
of no flow goes on as it came.
"""

from translator.examine import Translated, examine, refused, tcp_flags
from translator.fragments.datagrams import Bound, bind_fragment
from translator.fragments.reassembly import KNOWN, find_datagram
from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.addresses import is_same
from translator.packet.answers import is_echo_request
from translator.packet.error_limits import ECHOES, take_token
from translator.packet.fields import TCP, TCP_ACK, TCP_SYN
from translator.packet.in_place import is_too_big, write_echo_reply, write_error_in_place, write_in_place
from translator.packet.mss import lower_mss
from translator.packet.packet import Packet, needs_whole, quotes_packet
from translator.packet.parse import is_fragment, parse_quoted
from translator.packet.transport import PRESENT
from translator.packet.tuples import incoming_tuple, is_other, tuple_of
from translator.session.accounts import FROM_HOST6, count_packet, note_account
from translator.session.clients6 import (
    address_of,
    as_flow4,
    hold_client,
    is_source6,
    let_client_go,
    peer_of,
    vip_of,
    written_of,
)
from translator.session.filtering import from_ipv4
from translator.session.services import find_serving, is_endpoint
from translator.session.sessions import find_session6, touch
from translator.session.tcp_state import TcpEvent, event_of
from translator.session.windows import note_segment
from translator.static.rfc6052 import in_prefix
from translator.tables.handles import DNAT, FRONT6, is_handle
from translator.tables.layout import NONE
from translator.verdict import Ask, Event, Verdict


@rare()
def translate_front6(gateway, now, p, view, offload):
    """As pipeline.translate, for an IPv6 packet that is not to pool6; verdict CONTINUE: it has nothing to do with
    services."""
    quotes = quotes_packet(p, view)
    quoted = parse_quoted(p, view) if quotes else view
    if quoted.verdict != Verdict.CONTINUE:
        ours = vip_of(gateway, view.dst) != NONE or is_source6(gateway, view.dst)
        return refused(quoted.verdict if ours else Verdict.CONTINUE, 0, NONE)
    incoming = incoming_tuple(p, view, quoted, quotes)
    if not concerns_front6(gateway, incoming):
        return refused(Verdict.CONTINUE, 0, NONE)
    examined = examine(gateway, p, view, offload, quotes, PRESENT)
    flags = tcp_flags(gateway, now, p, view, incoming) if examined == Verdict.CONTINUE else 0
    whole = needs_whole(view, PRESENT)
    part = quoted.fragment_offset > 0 or whole
    packet = Packet(view, quoted, offload, incoming, quotes, PRESENT, flags, whole, part)
    bound = bind_packet_front6(gateway, now, p, packet, examined)
    if bound.verdict == Verdict.NOT_OUR_PREFIX:
        return refused(Verdict.CONTINUE, 0, NONE)
    if bound.verdict == Verdict.PASSED:
        return Translated(bound.verdict, 0, view.l3, view.end, 0, int64(NONE), int64(NONE))
    if bound.verdict == Verdict.ECHOED:
        return echo(gateway, now, p, view)
    if bound.verdict != Verdict.CONTINUE:
        pointer = view.source_route if bound.verdict == Verdict.ROUTING_HEADER else 0
        return refused(bound.verdict, pointer, bound.held)
    return write_front6(gateway, p, packet, bound)


@jit()
def write_front6(gateway, p, packet, bound):
    """What becomes of a packet with an outgoing tuple."""
    settings, view, outgoing = gateway.settings, packet.parsed, bound.outgoing
    if packet.quotes:
        if not is_same(view.dst, packet.incoming.dst):
            return refused(Verdict.NO_SESSION, 0, NONE)
        # ---- decided; writing starts. A router on the way is seen as what it is, as every address is in IPv6.
        src = outgoing.src if is_same(view.src, packet.incoming.src) else view.src
        write_error_in_place(p, packet, outgoing, src, outgoing.dst)
    else:
        if is_too_big(settings, p, packet):
            return refused(Verdict.TOO_BIG, settings.mtu6, NONE)
        # ---- decided; writing starts
        if packet.flags & TCP_SYN and settings.service_mss > 0:
            lower_mss(p, packet, settings.service_mss)
        write_in_place(p, packet, outgoing)
        count_packet(gateway, view.end - view.l3, packet.incoming.src, outgoing.dst)
    return Translated(Verdict.HAIRPINNED, 0, view.l3, view.end, 0, int64(NONE), bound.releases)


@jit()
def echo(gateway, now, p, view):
    """A ping of the address of a service is answered, if the limit allows."""
    events = gateway.worker.events
    if not take_token(gateway, now, 6, view.src, ECHOES):
        events[int64(Event.ANSWER_LIMITED)] += 1
        return refused(Verdict.ECHOED, 0, NONE)
    at, fragment_payload = write_echo_reply(p, view, gateway.settings.lowest_ipv6_mtu)
    events[int64(Event.ECHO_SENT)] += 1
    return Translated(Verdict.ECHOED, 0, at, view.end, fragment_payload, int64(NONE), int64(NONE))


@jit()
def concerns_front6(gateway, t):
    """Whether a tuple is to a service, or may be of an endpoint's answers: with "dnat" it may be to anybody."""
    if vip_of(gateway, t.dst) != NONE or is_source6(gateway, t.dst):
        return True
    return gateway.settings.front6 == DNAT and is_endpoint(gateway, t.src)


@rare()
def bind_packet_front6(gateway, now, p, packet, examined):
    """As pipeline.bind_packet. `examined`: what `examine` has against the packet."""
    t, view = packet.incoming, packet.parsed
    verdict, ask, outgoing, stateful = bind_front6(gateway, now, packet, t, examined)
    if ask == Ask.ECHO and is_echo_request(p, view):
        verdict = Verdict.ECHOED if gateway.settings.echo else Verdict.FILTERED_ICMP_INFO
    passes = verdict == Verdict.CONTINUE and ask == Ask.NOBODY
    if gateway.settings.check_rst and packet.flags != 0 and passes:
        note_segment(gateway, now, p, packet, t)
    bound = Bound(verdict, outgoing, stateful, int64(NONE), int64(NONE))
    return bind_fragment(gateway, now, p, packet, ask, bound) if is_fragment(view) else bound


@jit()
def bind_front6(gateway, now, packet, t, examined):
    """As pipeline.bind."""
    vip, verdict, ask, outgoing = vip_of(gateway, t.dst), examined, Ask.NOBODY, t
    if packet.quotes and packet.part:
        return Verdict.QUOTED_PACKET, ask, t, False
    if vip != NONE:
        verdict = refused_client(gateway, t, examined)
    if vip != NONE and verdict != Verdict.CONTINUE:
        return verdict, ask, t, False
    if packet.part:
        return bind_part(gateway, now, packet, t, examined)
    acquire(gateway.tables.lock)
    if vip != NONE:
        verdict, ask, outgoing = from_client6(gateway, now, packet, t, vip)
    else:
        verdict, outgoing = from_endpoint(gateway, now, packet, t, examined)
    release(gateway.tables.lock)
    return verdict, ask, outgoing, verdict != Verdict.PASSED


@jit()
def refused_client(gateway, t, examined):
    """CONTINUE, or why no packet comes from this source to a service, which is judged before what its sender is told
    of; where other protocols than TCP, UDP and ICMP go, nobody is."""
    if in_prefix(gateway, t.src):
        return Verdict.SOURCE_IN_POOL6
    if is_source6(gateway, t.src) or vip_of(gateway, t.src) != NONE:
        return Verdict.FORGED_SOURCE
    if examined != Verdict.CONTINUE:
        return examined
    return Verdict.PROTOCOL if is_other(t) else Verdict.CONTINUE


@jit()
def bind_part(gateway, now, packet, t, examined):
    """A fragment that cannot be looked up alone goes where its first one went. The host hands us an endpoint's in their
    order: those whose first one is not known are of no flow."""
    if vip_of(gateway, t.dst) == NONE and gateway.settings.front6 == DNAT:
        tables = gateway.tables
        acquire(tables.lock)
        at = find_datagram(gateway, now, t, packet.parsed.identification)
        known = at != NONE and tables.fragments[at].stage == KNOWN
        release(tables.lock)
        if not known:
            return Verdict.PASSED, Ask.NOBODY, t, False
    if examined != Verdict.CONTINUE:
        return examined, Ask.NOBODY, t, False
    return Verdict.CONTINUE, Ask.FRAGMENTS, t, False


@rare()
def from_client6(gateway, now, packet, t, vip):
    """(verdict, whom to ask, outgoing tuple) of a packet to an address of a service, as filtering.from_ipv4."""
    tables, client = gateway.tables, hold_client(gateway, t.src)
    if client == NONE:
        return Verdict.SESSION_TABLE_FULL, Ask.NOBODY, t
    flow, event = as_flow4(t, client, vip), event_of(4, packet.flags)
    verdict, ask, outgoing = from_ipv4(gateway, now, flow, event, packet.quotes, packet.flags & TCP_ACK != 0)
    src = written_of(tables, client, t.src.port)
    let_client_go(gateway, client)
    if verdict != Verdict.CONTINUE or ask != Ask.NOBODY:
        return verdict, ask, t
    return verdict, ask, tuple_of(6, t.protocol, src, outgoing.dst)


@rare()
def from_endpoint(gateway, now, packet, t, examined):
    """(verdict, outgoing tuple) of a packet that an endpoint may have sent to a client."""
    tables, peer = gateway.tables, peer_of(gateway, t)
    session = find_session6(gateway, now, t, peer) if is_handle(peer.lo) else int64(NONE)
    if session == NONE:
        return of_no_flow(gateway, now, packet, t, examined), t
    if examined != Verdict.CONTINUE:
        return examined, t
    if not packet.quotes:
        touch(gateway, now, session, event_of(6, packet.flags))
        note_account(gateway, session, FROM_HOST6)
    row = tables.sessions[session]
    src, dst = address_of(tables, row.mapped4, row.mapped4_port), address_of(tables, peer.lo, t.dst.port)
    return Verdict.CONTINUE, tuple_of(6, t.protocol, src, dst)


@jit()
def of_no_flow(gateway, now, packet, t, examined):
    """The verdict of what an endpoint sends, or what is said about what was sent to it, that is of no flow."""
    settings = gateway.settings
    if settings.front6 == DNAT:
        bib, _ = find_serving(gateway, t.protocol, t.src, FRONT6)
        return Verdict.PASSED if bib != NONE else Verdict.NOT_OUR_PREFIX
    if examined != Verdict.CONTINUE:
        return examined
    if in_prefix(gateway, t.src):
        return Verdict.SOURCE_IN_POOL6
    is_rst = event_of(6, packet.flags) == TcpEvent.V6_RST
    if packet.quotes or t.protocol != TCP or is_rst or now >= settings.reset_until:
        return Verdict.NO_SESSION
    return Verdict.LOST_SESSION
