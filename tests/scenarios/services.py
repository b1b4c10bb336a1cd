"""[[service]]: an IPv4 address and port that IPv6 endpoints serve (docs/services.md).

SERVER4 is the client here; VIP:80 is served by the endpoints ENDPOINT(1) to ENDPOINT(3), port 8080.
"""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6

from tests.scenarios import OTHER4, POOL6, SERVER4, STANDARD, Scenario, Step, drops, passes, tell4

VIP = "203.0.113.80"


def E(number: int) -> str:  # noqa: N802  an endpoint
    return f"2001:db8:5::{number:x}"


def service(name: str, port: int, *endpoints: int, more: str = "") -> str:
    ends = ", ".join(f'"[{E(number)}]:8080"' for number in endpoints)
    return f'\n[[service]]\nname = "{name}"\nipv4 = "{VIP}:{port}"\nendpoints = [{ends}]\n{more}'


CONFIG = (
    STANDARD
    + service("web", 80, 1, 2, 3)
    + service("again", 8080, 1, 2, 3, more='protocol = ["tcp", "udp"]\n')
    + service("single", 443, 4)
    + service("the-same", 444, 4)
    + service("nobody", 9, more='protocol = ["tcp", "udp"]\n')
    + service("staff", 22, 1, more='sources = ["192.0.2.0/24"]\n')
)


def in4(transport: Any, **ip: Any) -> Any:
    """As SERVER4 sends it."""
    return IP(**{"src": SERVER4, "dst": VIP} | ip) / transport


def reaches(number: int, sport: int, dport: int, src: str = SERVER4, **tcp: Any) -> Step:
    """A segment of a client, and the endpoint that it reaches."""
    segment = {"flags": "S", "seq": 7} | tcp
    return passes(
        in4(TCP(sport=sport, dport=dport, **segment), src=src),
        IPv6(src=POOL6 + src, dst=E(number), hlim=63) / TCP(sport=sport, dport=8080, **segment),
    )


def answers(number: int, sport: int, dport: int, **tcp: Any) -> Step:
    """A segment of an endpoint to port `dport` of the client, which sees port `sport` of VIP."""
    return passes(
        IPv6(src=E(number), dst=POOL6 + SERVER4) / TCP(sport=8080, dport=dport, **tcp),
        IP(src=VIP, dst=SERVER4, ttl=63) / TCP(sport=sport, dport=dport, **tcp),
    )


def reset(verdict: str, dport: int, sport: int = 7000) -> Step:
    sent = in4(TCP(sport=sport, dport=dport, flags="S", seq=7))
    refusal = TCP(sport=dport, dport=sport, flags="RA", seq=0, ack=8, window=0)
    return drops(verdict, sent, IP(src=VIP, dst=SERVER4, id=0, flags="DF", ttl=64) / refusal)


def unreachable(verdict: str, dport: int) -> Step:
    sent = in4(UDP(sport=7000, dport=dport) / b"query")
    return drops(verdict, sent, tell4(sent, 3, 3, src=VIP))


CLIENTS6, PRIVATE4 = "2001:db8:c::", "10.1.2.3"
OWN = f'client_prefix = "{CLIENTS6}/96"\n'
APART = (
    STANDARD
    + service("web", 80, 1)
    + service("apart", 81, 1, more=OWN + 'protocol = ["tcp", "udp"]\n')
    + service("one", 82, 2, more=OWN)
    + service("two", 83, 2, more=OWN)
)


def under(prefix: str, number: int, transport: Any, to: str = SERVER4) -> Any:
    """As an endpoint sends it."""
    return IPv6(src=E(number), dst=prefix + to) / transport


def as_service(transport: Any, to: str = SERVER4) -> Any:
    """As a client gets it."""
    return IP(src=VIP, dst=to, ttl=63) / transport


def apart() -> list[Step]:
    """A port of a client at two services of one endpoint, and what follows."""
    syn, back = {"sport": 5000, "flags": "S", "seq": 7}, {"dport": 5000, "flags": "SA", "seq": 9, "ack": 8}
    data = UDP(sport=8080, dport=5000) / b"answer"
    opened = [
        step
        for port, prefix in ((80, POOL6), (81, CLIENTS6))
        for step in (
            passes(in4(TCP(dport=port, **syn)), IPv6(src=prefix + SERVER4, dst=E(1), hlim=63) / TCP(dport=8080, **syn)),
            passes(under(prefix, 1, TCP(sport=8080, **back)), as_service(TCP(sport=port, **back))),
        )
    ]
    return [
        *opened,
        passes(under(CLIENTS6, 1, data, OTHER4), as_service(UDP(sport=81, dport=5000) / b"answer", OTHER4)),
        passes(
            in4(TCP(dport=81, **syn), src=PRIVATE4),
            IPv6(src=CLIENTS6 + PRIVATE4, dst=E(1), hlim=63) / TCP(dport=8080, **syn),
        ),
    ]


PING = {"id": 4242, "seq": 1}

SCENARIOS = [
    Scenario(
        "a_service_of_three_endpoints",
        "The hash of client, ports and address chooses an endpoint; the client sees the address of the service alone.",
        [
            reaches(3, 5000, 80),
            answers(3, 80, 5000, flags="SA", seq=99, ack=8),
            reaches(3, 5000, 80, flags="A", seq=8, ack=100),
            reaches(1, 5001, 80),
            reaches(2, 5002, 80),
            reaches(3, 5003, 80),
            reaches(1, 5000, 80, src=OTHER4),
        ],
        CONFIG,
    ),
    Scenario(
        "connections_to_a_service_that_another_gateway_has_opened",
        "A segment without session goes where the hash says, and an answer without session leaves as the service.",
        [
            reaches(3, 5000, 80, flags="A", seq=8, ack=100),
            passes(
                IPv6(src=E(4), dst=POOL6 + OTHER4) / TCP(sport=8080, dport=5000, flags="A"),
                IP(src=VIP, dst=OTHER4, ttl=63) / TCP(sport=443, dport=5000, flags="A"),
            ),
        ],
        CONFIG.replace(service("the-same", 444, 4), ""),
    ),
    Scenario(
        "what_the_address_of_a_service_says_itself",
        "It answers pings, and refuses what nobody serves.",
        [
            Step(
                in4(ICMP(type=8, **PING) / b"ping", id=77),
                "echoed",
                (IP(src=VIP, dst=SERVER4, id=77, ttl=64) / ICMP(type=0, **PING) / b"ping",),
            ),
            reset("no_endpoint", 9),
            unreachable("no_endpoint", 9),
            reset("closed_port", 81),
            unreachable("closed_port", 81),
            drops("source_range", in4(TCP(sport=7000, dport=22, flags="S"))),
        ],
        CONFIG,
    ),
    Scenario(
        "two_services_with_one_endpoint",
        "It could not tell two flows from one port of a client apart: the second one is refused.",
        [reaches(4, 5000, 443), reset("service_clash", 444, 5000), reaches(4, 5001, 444)],
        CONFIG,
    ),
    Scenario(
        "two_services_with_prefixes_of_clients_of_their_own",
        "One port of a client has a flow in each; an answer without session is of the one service with its prefix.",
        apart(),
        APART,
    ),
    Scenario(
        "what_no_service_with_a_prefix_of_clients_has_sent",
        "Nothing but answers goes to such a prefix, and nobody has an address in it.",
        [
            drops("service_ambiguous", under(CLIENTS6, 2, TCP(sport=8080, dport=5000, flags="A"))),
            drops("no_service_flow", under(CLIENTS6, 1, TCP(sport=8080, dport=5000, flags="S"))),
            drops("no_service_flow", under(CLIENTS6, 3, TCP(sport=8080, dport=5000, flags="A"))),
            drops("no_service_flow", under(CLIENTS6, 1, ICMPv6EchoRequest(**PING))),
            drops("source_in_pool6", IPv6(src=CLIENTS6 + OTHER4, dst=CLIENTS6 + SERVER4) / UDP(sport=7, dport=7)),
        ],
        APART + "\n[filtering]\nreset_unknown = 0\n",
    ),
]
