"""What `nat64d explain` tells of services: which one a packet is of, which member has it, and why."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from nat64d.config.fronts import numbers_of
from nat64d.config.words import address6
from nat64d.control.output import endpoint
from translator.explain import Call
from translator.session.rendezvous import SCORE_BITS
from translator.tables.gateway import Gateway
from translator.tables.handles import CLIENTS, NUMBER, VIPS
from translator.tables.layout import LEAVING, NONE, OF_SERVICE
from translator.tables.records import Record
from translator.tables.settings import Settings
from translator.tables.tables import Tables
from translator.verdict import Verdict


def address_text(tables: Tables, number: int) -> str:
    """An IPv4 address, or the IPv6 address of a handle."""
    if number < CLIENTS:
        return str(IPv4Address(int(number)))
    at = int(number) & NUMBER
    row = tables.vips6[at] if number >= VIPS else (tables.clients6[at].hi, tables.clients6[at].lo)
    return str(address6(*row))


def name_of(tables: Tables, front: int) -> str:
    """What the service of a front is called, and the front."""
    row = tables.fronts[front]
    name = bytes(tables.names[row.service]).rstrip(b"\0").decode()
    return f"service {name}, {endpoint(address_text(tables, row.address4), int(row.port))}"


def service_lines(gateway: Gateway, bind: Call, session: Record | None) -> Iterator[str]:
    """The lines about a search of bind; `session`: what was found or opened."""
    choices = list(bind.find("choose"))
    chosen = [call for call in choices if call.result != NONE]
    held = next((call for call in bind.find("find_held") if call.result != NONE), None)
    answering = next((call for call in bind.find("find_answering") if call.result != NONE), None)
    if len(choices) > 1 and choices[-1].result == NONE:
        name = name_of(gateway.tables, choices[0].arguments[3])
        yield f"{name}: each of its endpoints has a flow with this port of the client already"
    elif chosen:
        yield from _chosen(gateway, chosen[-1], pinned=session is not None and session.inbound >= OF_SERVICE)
    elif held is not None:
        bib = gateway.tables.bibs[held.result]
        yield f"{_member(gateway, bib)}, where this client has been before (affinity)"
    elif choices:
        yield f"{name_of(gateway.tables, choices[0].arguments[3])}: it has no endpoint for this flow"
    elif session is not None and session.inbound >= OF_SERVICE:
        yield f"{_member(gateway, gateway.tables.bibs[session.bib])}, where its session is pinned"
    elif answering is not None:
        bib = gateway.tables.bibs[answering.result]
        yield f"{_member(gateway, bib)} answers, and no session here: another gateway may have it"
    elif (judged := bind.first("judge_answer")) is not None:
        yield _judged(gateway, judged)
    elif (found := next((call for call in bind.find("find_front") if call.result != NONE), None)) is not None:
        yield f"{name_of(gateway.tables, found.result)}: not for this client"


def _judged(gateway: Gateway, call: Call) -> str:
    """What was found about a packet to a client prefix that has no session."""
    (verdict, bib), prefix = call.result, prefix_text(gateway.settings, call.arguments[5])
    if verdict == Verdict.CONTINUE:
        member = _member(gateway, gateway.tables.bibs[bib])
        return f"{member} answers, and no session here: another gateway may have it"
    if verdict == Verdict.SERVICE_AMBIGUOUS:
        return f"no session, and several services whose clients are under {prefix} have this endpoint"
    return f"no session, and no answer of a service whose clients are under {prefix}"


def prefix_text(settings: Settings, number: int) -> str:
    """The prefix with a number."""
    hi, lo, length = settings.prefixes[number].tolist()
    return f"{address6(hi, lo)}/{length}"


def _chosen(gateway: Gateway, call: Call, pinned: bool) -> Iterator[str]:
    tables, front = gateway.tables, gateway.tables.fronts[call.arguments[3]]
    bib = tables.bibs[call.result]
    scores = {int(each.arguments[1]): int(each.result) for each in call.find("score")}  # by the keys of members
    at = [int(tables.members[n].bib) for n in range(front.first, front.first + front.count)].index(int(call.result))
    least = list(call.find("best_of"))[-1].arguments[5]
    able = int((tables.members["weight"][front.first : front.first + front.count] >= least).sum())
    some = f"{able} of " if able < front.count else ""
    count = f"{some}{front.count} members" if front.count > 1 else "one member"
    score = f", score {scores[int(tables.members[front.first + at].key)]:,} of {(1 << SCORE_BITS):,}"
    score = "" if front.weighted else score
    weight = f", weight {tables.members[front.first + at].weight}" if front.weighted else ""
    how = "by the hash of the client's address" if front.affinity else "by the hash of the flow"
    but = ", but for those that have a flow with this port of the client already" if call.arguments[5] else ""
    why = "pinned from now on" if pinned else "not pinned by a session"
    yield f"{_member(gateway, bib)}, chosen {how} among {count}{but}{score}{weight}; {why}"


def _member(gateway: Gateway, bib: Record) -> str:
    host6 = endpoint(str(address6(bib.host6_hi, bib.host6_lo)), int(bib.host6_port))
    under = f", clients under {prefix_text(gateway.settings, int(bib.prefix))}" if bib.prefix > 0 else ""
    front = numbers_of(gateway.tables).get((int(bib.protocol), int(bib.mapped4), int(bib.mapped4_port)))
    if front is None:
        address = endpoint(address_text(gateway.tables, bib.mapped4), int(bib.mapped4_port))
        return f"a service that is gone, {address}: member {host6}{under}"
    left = ", which has left it" if bib.live == LEAVING else ""
    return f"{name_of(gateway.tables, front)}: member {host6}{under}{left}"
