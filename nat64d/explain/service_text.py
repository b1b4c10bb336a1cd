"""What `nat64d explain` tells of services: which one a packet is of, which member has it, and why."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import numpy as np

from nat64d.config.words import address6
from nat64d.control.output import endpoint
from translator.explain import Call
from translator.session.rendezvous import SCORE_BITS
from translator.tables.gateway import Gateway
from translator.tables.layout import NONE, OF_SERVICE
from translator.tables.records import Record
from translator.tables.tables import Tables


def name_of(tables: Tables, front: int) -> str:
    """What the service of a front is called, and the front."""
    row = tables.fronts[front]
    name = bytes(tables.names[row.service]).rstrip(b"\0").decode()
    return f"service {name}, {IPv4Address(int(row.address4))}:{row.port}"


def service_lines(gateway: Gateway, bind: Call, session: Record | None) -> Iterator[str]:
    """The lines about a search of bind; `session`: what was found or opened."""
    choices = list(bind.find("choose"))
    chosen = [call for call in choices if call.result != NONE]
    answering = next((call for call in bind.find("find_answering") if call.result != NONE), None)
    if chosen:
        yield from _chosen(gateway, chosen[-1], pinned=session is not None and session.inbound == OF_SERVICE)
    elif choices:
        yield f"{name_of(gateway.tables, choices[0].arguments[3])}: it has no endpoint for this flow"
    elif session is not None and session.inbound == OF_SERVICE:
        yield f"{_member(gateway, gateway.tables.bibs[session.bib], session.bib)}, where its session is pinned"
    elif answering is not None:
        bib = gateway.tables.bibs[answering.result]
        yield f"{_member(gateway, bib, answering.result)} answers, and no session here: another gateway may have it"
    elif (found := bind.first("enter_service")) is not None:
        yield f"{name_of(gateway.tables, found.arguments[3])}: not for this client"


def _chosen(gateway: Gateway, call: Call, pinned: bool) -> Iterator[str]:
    tables, front = gateway.tables, gateway.tables.fronts[call.arguments[3]]
    bib = tables.bibs[call.result]
    scores = [int(each.result) for each in call.find("score")]
    at = [int(tables.members[n].bib) for n in range(front.first, front.first + front.count)].index(int(call.result))
    count = f"{front.count} members" if front.count > 1 else "one member"
    score = f", score {max(scores):,} of {(1 << SCORE_BITS):,}" if scores and not front.weighted else ""
    weight = f", weight {tables.members[front.first + at].weight}" if front.weighted else ""
    how = "by the hash of the client's address" if front.affinity else "by the hash of the flow"
    why = "pinned from now on" if pinned else "not pinned by a session"
    yield f"{_member(gateway, bib, call.result)}, chosen {how} among {count}{score}{weight}; {why}"


def _member(gateway: Gateway, bib: Record, number: Any) -> str:
    members = gateway.tables.members.view(np.ndarray)
    front = int(members["front"][members["bib"] == number][0])
    host6 = endpoint(str(address6(bib.host6_hi, bib.host6_lo)), int(bib.host6_port))
    return f"{name_of(gateway.tables, front)}: member {host6}"
