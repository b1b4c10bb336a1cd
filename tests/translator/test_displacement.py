"""Where ports run out, a mapping that nobody has answered gives its port to a subscriber that has fewer of them."""

import pytest

from tests import invariants
from tests.occupied import everything, occupy
from tests.packets import HOST4, HOST4_PORT, HOST6, NEIGHBOUR6, OTHER4
from tests.sessions import Sessions
from tests.translator.test_port_shares import PORTS, pool, take_ports
from tests.translator.test_shares import STRANGER6, Busy
from translator.session.displacement import ALLOWANCE, TRIED
from translator.session.unanswered import FEW
from translator.tables.layout import NONE
from translator.verdict import Verdict

PROTOCOLS = ("udp", "tcp", "icmp")
LARGE = f"2000-{2000 + 2 * ALLOWANCE - 1}"  # two unanswered mappings are allowed to everybody


def crowd(count: int) -> list[str]:
    """Hosts of so many subscribers."""
    return [f"2001:db8:{k + 256:x}::1" for k in range(count)]


def scarce(*args: str, **changes: object) -> Busy:
    """As pool(); its invariants are checked where a test says so."""
    nat64 = pool(*args, **changes)
    nat64.check_invariants = lambda: None
    return nat64


def check(nat64: Sessions) -> None:
    """Every invariant."""
    invariants.check(nat64.tables, nat64.settings)


def flooded(hosts: int, ports: int, protocol: str = "udp") -> Busy:
    """A gateway whose one address has `ports` ports of which each of so many hosts takes what it can get, in turns."""
    nat64 = scarce(ports=f"2000-{2000 + ports - 1}")
    names, taken, going = crowd(hosts), 0, True
    while going:
        verdicts = [nat64.from6(protocol, 6000 + taken, host=host).verdict for host in names]
        going, taken = Verdict.TRANSLATED in verdicts, taken + 1
    return nat64


def left(nat64: Sessions, host: str) -> list[int]:
    """The ports that a host has mappings for."""
    return sorted(port for _, host6, port in nat64.bib() if host6 == host)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rfc6888_req_4_a_quiet_subscriber_gets_ports_beside_many_that_have_taken_all_they_can(protocol):
    nat64 = flooded(24, 97, protocol)
    mapped = [nat64.opened(protocol, 7000, host=STRANGER6)]
    nat64.from4(protocol, mapped[0])
    for k in range(1, 4):  # one was left of the shares
        mapped.append(nat64.opened(protocol, 7000 + k, host=STRANGER6))
        assert nat64.from4(protocol, mapped[k]).verdict == Verdict.TRANSLATED
    assert nat64.events()["PORT_DISPLACED"] == 3
    assert len(set(mapped)) == 4
    check(nat64)


@pytest.mark.no_cover
def test_the_port_is_that_of_the_mapping_that_has_waited_longest():
    nat64 = flooded(24, 970)
    oldest = [nat64.mapped("udp", 6000, host) for host in crowd(4)]
    taken, given_up = [], 0
    while given_up < len(oldest):
        taken.append(nat64.opened("udp", 7000 + len(taken), host=STRANGER6))
        given_up = nat64.events().get("PORT_DISPLACED", 0)
    assert taken[-len(oldest) :] == oldest
    assert [left(nat64, host)[0] for host in crowd(5)] == [6001] * 4 + [6000]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rfc6888_req_11_d_what_was_answered_is_never_displaced(protocol):
    nat64 = flooded(2, 20, protocol)
    for mapped in nat64.bib().values():
        assert nat64.from4(protocol, mapped).verdict == Verdict.TRANSLATED
    before = nat64.bib()
    while nat64.from6(protocol, 7000 + len(nat64.bib()), host=STRANGER6).verdict == Verdict.TRANSLATED:
        pass
    assert before.items() <= nat64.bib().items()
    assert "PORT_DISPLACED" not in nat64.events()


@pytest.mark.parametrize(
    ("peer", "flags"), [((HOST4, HOST4_PORT), "SYN-ACK"), ((OTHER4, 9), "SYN"), ((OTHER4, 9), "ACK")]
)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_a_packet_from_outside_is_an_answer_whoever_sends_it(protocol, peer, flags):
    nat64, slot = pool(ports="2000-2000"), ["tcp", "udp", "icmp"].index(protocol)
    mapped = nat64.opened(protocol, 6000)
    assert nat64.tables.unanswered_of[slot].tolist()[2:] == [1, 1]
    assert nat64.from4(protocol, mapped, peer, flags).verdict == Verdict.TRANSLATED
    assert nat64.tables.unanswered_of[slot].tolist() == [NONE, NONE, 0, 0]
    check(nat64)


def test_a_refused_connection_is_none():
    nat64 = pool(ports="2000-2000")
    nat64.from4("tcp", nat64.opened("tcp", 6000), flags="RST")
    assert nat64.tables.unanswered_of[0].tolist()[2] == 1


def test_a_datagram_past_the_bound_is_an_answer():
    nat64 = pool(sessions=16)
    mapped = nat64.opened("udp", 6000)
    assert nat64.tables.unanswered_of[1].tolist()[2] == 1
    for host in crowd(15):
        nat64.opened("icmp", 6000, host=host)
    assert nat64.from4("udp", mapped, (OTHER4, 1)).verdict == Verdict.TRANSLATED
    assert nat64.events()["UNPINNED"] == 1
    assert nat64.tables.unanswered_of[1].tolist()[2] == 0


def test_those_who_flood_do_not_displace_one_another():
    nat64 = flooded(24, 97)
    before = nat64.bib()
    for host in crowd(24):
        assert nat64.from6("udp", 9000, host=host).verdict in (Verdict.SUBSCRIBER_PORTS, Verdict.POOL4_EXHAUSTED)
    assert nat64.bib() == before


@pytest.mark.no_cover
def test_a_subscriber_displaces_until_it_waits_for_half_as_many_answers_as_the_others():
    nat64 = flooded(24, 970)
    own = 0
    while nat64.from6("udp", 7000 + own, host=STRANGER6).verdict == Verdict.TRANSLATED:
        own += 1
    others = [len(left(nat64, host)) for host in crowd(24)]
    assert own in range(min(others) // 2, max(others) // 2 + 2)


def test_nobody_gets_more_than_his_share_though_others_wait():
    """Answers on all of them: four fifths of four fifths of the ports, as if nobody else were there."""
    nat64 = pool()
    for k, host in enumerate(crowd(10)):
        for port in range(4):
            nat64.opened("udp", 6000 + 4 * k + port, host=host)
    taken = 0
    while (mapped := nat64.from6("udp", 8000 + taken)).verdict == Verdict.TRANSLATED:
        nat64.from4("udp", nat64.mapped("udp", 8000 + taken))
        taken += 1
    assert mapped.verdict == Verdict.SUBSCRIBER_PORTS
    assert taken == 64


@pytest.mark.no_cover
def test_beside_thousands_that_have_one_each_a_subscriber_has_a_few_at_a_time():
    nat64 = scarce(ports=LARGE)
    for k, host in enumerate(crowd(2 * ALLOWANCE)):
        nat64.opened("udp", 6000 + k % 2, host=host)
    for port in (7000, 7001):
        nat64.opened("udp", port, host=STRANGER6)
    assert nat64.from6("udp", 7002, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED
    nat64.from4("udp", nat64.mapped("udp", 7000, STRANGER6))
    nat64.opened("udp", 7003, host=STRANGER6)
    hosts = {host6 for _, host6, _ in nat64.bib()}
    assert [k for k, host in enumerate(crowd(2 * ALLOWANCE)) if host not in hosts] == [0, 1, 2]
    check(nat64)


def test_those_that_may_stay_are_asked_again_later_than_all_others():
    """More than are tried, of subscribers that have one each, are older than those of one that has many."""
    nat64 = scarce()
    for host in crowd(TRIED + 1):
        nat64.opened("udp", 6000, host=host)
    take_ports(nat64, *(f"2001:db8:1::{k + 1:x}" for k in range(PORTS)))
    verdicts = []
    for port in range(7000, 7030):
        verdicts.append(nat64.from6("udp", port, host=STRANGER6).verdict)
        if verdicts[-1] == Verdict.TRANSLATED:
            nat64.from4("udp", nat64.mapped("udp", port, STRANGER6))
    assert verdicts.count(Verdict.SUBSCRIBER_PORTS) == 1
    assert nat64.events()["PORT_DISPLACED"] > 1
    assert [left(nat64, host) for host in crowd(TRIED + 1)] == [[6000]] * (TRIED + 1)
    check(nat64)


@pytest.mark.parametrize(("sessions", "given"), [(FEW, True), (FEW + 1, False)])
def test_work_is_bounded_a_mapping_of_many_sessions_stays(sessions, given):
    nat64 = pool(ports="2000-2009")
    for port in range(6000, 6008):
        for k in range(sessions):
            nat64.opened("udp", port, to=(OTHER4, 1000 + k), host=f"2001:db8:1::{port:x}")
    for host in crowd(2):
        nat64.opened("udp", 6000, host=host)
        nat64.from4("udp", nat64.mapped("udp", 6000, host))
    verdict = nat64.from6("udp", 6000, host=STRANGER6).verdict
    assert verdict == (Verdict.TRANSLATED if given else Verdict.POOL4_EXHAUSTED)
    assert (nat64.mapped("udp", 6000, "2001:db8:1::1770") is None) == given
    assert len(nat64.sessions(lambda session: session.host6[1] in range(6001, 6008))) == 7 * sessions


def test_one_that_had_many_sessions_gives_way_when_they_have_ended():
    nat64 = pool(ports="2000-2000")
    nat64.opened("udp", 6000, to=(OTHER4, 1))
    nat64.wait(100)
    for k in range(FEW):
        nat64.opened("udp", 6000, to=(OTHER4, 1000 + k))
    assert nat64.tables.unanswered_of[1].tolist()[2] == 0
    nat64.wait(201)
    assert nat64.tables.unanswered_of[1].tolist()[2] == 1


def test_rfc6888_req_8_a_port_that_was_given_up_does_not_wait():
    nat64 = flooded(24, 97)
    for port in range(7000, 7002):
        nat64.opened("udp", port, host=STRANGER6)
    assert nat64.events()["PORT_DISPLACED"] > 0
    assert nat64.tables.quarantine_at.tolist() == [0, 0]


def test_configured_mappings_stay():
    rows = [{"protocol": "udp", "ipv4": "192.0.2.1:2000-2009", "ipv6": f"[{HOST6}]:2000-2009"}]
    nat64 = Busy(pool4=[{"addresses": "192.0.2.1", "ports": "2000-2009"}], forward=rows)
    nat64.opened("udp", 2000)
    assert nat64.from6("udp", 6000, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED


def test_a_host_that_is_paired_displaces_at_its_own_address():
    nat64 = scarce("192.0.2.1-192.0.2.4", "2000-2029")
    paired = nat64.opened("tcp", 7000, host=STRANGER6)[0]
    for port in range(20):
        for host in crowd(20):
            nat64.from6("udp", 6000 + port, host=host)
    for port in range(7000, 7008):
        assert nat64.opened("udp", port, host=STRANGER6)[0] == paired
        nat64.from4("udp", nat64.mapped("udp", port, STRANGER6))
    assert nat64.events()["PORT_DISPLACED"] > 0
    check(nat64)


def test_a_host_whose_only_mapping_is_displaced_is_forgotten_with_its_pairing():
    nat64 = pool(ports="2000-2003")
    victims = [f"2001:db8:1::{k + 1:x}" for k in range(3)]
    for host in victims:
        nat64.opened("udp", 6000, host=host)
    nat64.opened("udp", 6000, host=crowd(1)[0])
    nat64.opened("udp", 6000, host=STRANGER6)
    assert nat64.mapped("udp", 6000, victims[0]) is None
    assert len(nat64.tables.hosts[nat64.tables.hosts.live != 0]) == 4
    check(nat64)


def test_where_nobody_waits_the_refusal_is_as_ever():
    nat64 = pool(ports="2000-2009", subscriber=128)
    occupy(nat64.tables, nat64.settings, range(1), everything)
    nat64.check_invariants = lambda: None
    assert nat64.from6("udp", 6000, host=NEIGHBOUR6, to=(HOST4, 1)).verdict == Verdict.POOL4_EXHAUSTED
