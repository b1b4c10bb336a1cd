"""Histories by chance of clients, answers and changes of services, beside a model that chooses as the oracle does
(tests/reference/services.py), and notes which endpoint has which flow. The tables are checked after every step."""

from ipaddress import IPv4Address
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP

from tests.case import engines_of
from tests.conftest import IN_PLAIN_PYTHON
from tests.packets import HOST4, OTHER4, whole
from tests.reference.services import Services
from tests.translator.services import DNS, VIP, WEB, Serving, endpoints, service, tcp4, tcp6, udp4, udp6
from translator.verdict import Verdict

STEPS, PORTS, PLACES = 30, range(1, 9), {"tcp": 80, "udp": 53}
EXAMPLES = 4 if IN_PLAIN_PYTHON else 30
LIMITS = {"sessions": 256, "service_members": 16}  # enough that every flow is pinned
Flow = tuple[str, str, int]  # protocol, client, its port


class Model:
    """Where flows are, by the words of docs/services.md."""

    def __init__(self, services: list[dict[str, Any]], gone: str) -> None:
        self.at: dict[Flow, str] = {}
        self.reset: set[Flow] = set()
        self.gone = gone
        self.use(services)

    def use(self, services: list[dict[str, Any]]) -> None:
        """Let these be the services: UDP leaves who is gone, TCP stays, and whom a service does not serve any more."""
        self.chooser = Services(engines_of(service=services, forward=[], limits=LIMITS).config)
        self.ends = {
            (protocol, port): {str(entry.host6[0]) for entry, _ in front.members}
            for (protocol, (_, port)), front in self.chooser.fronts.items()
        }
        for flow, endpoint in list(self.at.items()):
            protocol, client, _ = flow
            left = endpoint not in self.ends.get((protocol, PLACES[protocol]), ())
            if self.excluded(protocol, client) or (left and protocol == "udp"):
                del self.at[flow]
                self.reset.discard(flow)
            elif left and self.gone == "reset":
                self.reset.add(flow)

    def front(self, protocol: str) -> Any:
        return self.chooser.fronts.get((protocol, (IPv4Address(VIP), PLACES[protocol])))

    def excluded(self, protocol: str, client: str) -> bool:
        front = self.front(protocol)
        return bool(front and front.sources) and not any(_in(client, net) for net in front.sources)

    def expected(self, flow: Flow, opens: bool) -> str | Verdict:
        """The endpoint that a packet of a client goes to, or what it is told."""
        protocol, client, port = flow
        if flow in self.reset:
            self.reset.discard(flow)
            del self.at[flow]
            if not opens:
                return Verdict.LOST_SESSION
        if flow in self.at:
            return self.at[flow]
        if (front := self.front(protocol)) is None:
            return Verdict.CLOSED_PORT
        if self.excluded(protocol, client):
            return Verdict.SOURCE_RANGE
        entry = self.chooser.choose(front, (IPv4Address(client), port), opens)
        if entry is None:
            return Verdict.NO_ENDPOINT
        self.at[flow] = str(entry.host6[0])
        return self.at[flow]


def _in(client: str, network: Any) -> bool:
    return IPv4Address(client) in network


def services_by(rng: Random) -> list[dict[str, Any]]:
    """Some endpoints at both ports, of some weights, for some clients; sometimes a service is not there."""

    def some(port: int) -> list[Any]:
        numbers = sorted(rng.sample(range(1, 7), rng.randint(0, 6)))
        return endpoints(port, *numbers, **{f"e{n}": rng.choice((0, 1, 1, 3)) for n in numbers if rng.random() < 0.4})

    keys = {"sources": rng.choice(([], [], [], [f"{HOST4}/32"]))}
    both = [
        service("web", f"{VIP}:80", some(8080), **keys),
        service("dns", f"{VIP}:53", some(53), "udp"),
        service("idle", f"{VIP}:9", []),  # the address stays one of services
    ]
    return [one for one in both if one["name"] == "idle" or rng.random() < 0.9]


def step(rng: Random, nat64: Serving, model: Model, gone: str) -> None:
    """One change, or one packet, and what must come of it."""
    if rng.random() < 0.2:
        services = services_by(rng)
        nat64.change(*services, services={"endpoint_gone": gone}, limits=LIMITS)
        model.use(services)
        return
    protocol, client, port = flow = rng.choice(("tcp", "udp")), rng.choice((HOST4, OTHER4)), rng.choice(PORTS)
    if flow in model.at and rng.random() < 0.3:
        reply = (
            tcp6(model.at[flow], 8080, port, "A", client)
            if protocol == "tcp"
            else udp6(model.at[flow], 53, port, client)
        )
        assert whole(nat64.send(reply).packets[0])[IP].src == VIP
        return
    opens = protocol == "udp" or rng.random() < 0.6
    packet = tcp4(port, 80, "S" if opens else "A", client) if protocol == "tcp" else udp4(port, 53, client)
    expected, outcome = model.expected(flow, opens), nat64.send(packet)
    if isinstance(expected, Verdict):
        assert outcome.verdict == expected, f"{flow}: {outcome.verdict.name} instead of {expected.name}"
    else:
        assert outcome.verdict == Verdict.TRANSLATED, f"{flow}: {outcome.verdict.name} instead of to {expected}"
        assert whole(outcome.packets[0]).dst == expected


@pytest.mark.no_cover
@pytest.mark.parametrize("gone", ["keep", "reset"])
def test_flows_are_where_the_oracle_says_whatever_changes(gone):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def check(rng: Random) -> None:
        nat64, model = Serving(WEB, DNS, limits=LIMITS, services={"endpoint_gone": gone}), Model([WEB, DNS], gone)
        for _ in range(STEPS):
            step(rng, nat64, model, gone)

    check()
