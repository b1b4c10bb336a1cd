"""What is probably not meant: the warnings of `check`, one sentence for each."""

import pytest

from nat64d.config.load import loads
from nat64d.config.warnings import warnings

MINIMAL = """\
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1/32"
"""

WARNED = [
    ("192.0.2.1", "off", ""),
    ("10.1.0.0/24", "auto", ""),
    ("10.1.0.0/24", "off", 'is private, but [host] masquerade = "off": without another NAT no answers come back.'),
    (
        "100.63.255.0-100.64.0.0",
        "off",
        'is private, but [host] masquerade = "off": without another NAT no answers come back.',
    ),
    ("192.0.2.1", "eth0", 'is public, but [host] masquerade = "eth0" replaces it with an address of this host.'),
]


@pytest.mark.parametrize(("addresses", "masquerade", "expected"), WARNED)
def test_what_is_probably_not_meant_is_said(addresses, masquerade, expected):
    text = MINIMAL.replace("192.0.2.1/32", addresses) + f"[host]\nmasquerade = '{masquerade}'\n"
    assert warnings(loads(text)) == ([f'[[pool4]] addresses = "{addresses}" {expected}'] if expected else [])


PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]


@pytest.mark.parametrize(
    ("pool6", "more", "reached"),
    [
        ("64:ff9b::/96", "", []),
        ("64:ff9b::/96", "strict_well_known_prefix = false\n", PRIVATE),
        ("2001:db8:64::/96", "", PRIVATE),
        ("64:ff9b:1::/96", f"translation.denylist4 = {PRIVATE[:2]}\n", PRIVATE[2:]),
        ("64:ff9b:1::/96", "translation.denylist4 = ['10.0.0.0/9', '10.128.0.0/10']\n", PRIVATE),
        ("64:ff9b:1::/96", f"translation.denylist4 = {PRIVATE}\n", []),
        ("64:ff9b:1::/96", "translation.denylist4 = ['0.0.0.0/1', '128.0.0.0/1']\n", []),
    ],
)
def test_rfc6052_3_1_private_addresses_under_another_prefix_raise_a_warning(pool6, more, reached):
    expected = (
        f"pool6 = {pool6} also stands for private addresses, so IPv6 hosts reach what this host reaches in "
        f"{', '.join(reached)}. Add to [translation] denylist4 what they must not reach."
    )
    assert warnings(loads(more + MINIMAL.replace("64:ff9b::/96", pool6))) == ([expected] if reached else [])


@pytest.mark.parametrize(
    "text", ["[dns64]\nlisten = ['[::1]:53']\n", '[clat]\nipv6 = "2001:db8:1::464"\nplat = "2001:db8:64::/96"\n']
)
def test_who_carries_no_packets_to_private_addresses_is_not_warned_of_them(text):
    assert not any("private" in warning for warning in warnings(loads(f'pool6 = "2001:db8:64::/96"\n{text}')))


@pytest.mark.parametrize(
    ("prefix", "private"),
    [
        *((prefix, True) for prefix in ("10.0.0.0/24", "10.255.255.0/24", "172.16.0.0/24", "172.31.255.0/24")),
        *((prefix, True) for prefix in ("192.168.0.0/24", "192.168.255.0/24", "100.64.0.0/24", "100.127.255.0/24")),
        *((prefix, False) for prefix in ("203.0.113.0/24", "9.255.255.0/24", "11.0.0.0/24", "172.15.255.0/24")),
        *((prefix, False) for prefix in ("172.32.0.0/24", "192.167.255.0/24", "192.169.0.0/24", "100.63.255.0/24")),
        ("100.128.0.0/24", False),
    ],
)
def test_rfc6791_3_1_private_sources_of_errors_raise_a_warning(prefix, private):
    told = warnings(loads(f'{MINIMAL}[translation]\nrfc6791_ipv4 = ["203.0.113.99", "{prefix}"]\n'))
    expected = (
        f"[translation] rfc6791_ipv4 has private addresses, {prefix}: networks that filter such sources do not get "
        "these ICMP errors (RFC 6791 section 3.1)."
    )
    assert told == ([expected] if private else [])


COMPUTED = """\
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1"
source = "2001:db8:0:10::/60"
deterministic = true
ports = "2000-65535"
[limits]
port_block = {}
blocks = {}
[log]
sessions = "{}"
"""


@pytest.mark.parametrize(
    ("size", "blocks", "sessions", "told"),
    [(3000, 2, "off", 1), (3000, 8, "off", 1), (3000, 1, "off", 0), (3000, 2, "blocks", 0), (3971, 2, "off", 0)],
)
def test_rfc7422_2_step_4_blocks_that_are_neither_computed_nor_logged_raise_a_warning(size, blocks, sessions, told):
    """Of 3971 ports there is one block for each of 16 subscribers, and none is left."""
    expected = (
        '[[pool4]] addresses = "192.0.2.1" hands out blocks that are not computed, and nobody will know who had one'
    )
    text = COMPUTED.format(size, blocks, sessions)
    beside_another = text.replace("[[pool4]]", '[[pool4]]\naddresses = "203.0.113.1"\n[[pool4]]')
    for config in (text, beside_another):
        assert [warning.partition(":")[0] for warning in warnings(loads(config))] == [expected] * told


FORWARD = '[[forward]]\nprotocol = "tcp"\nipv4 = "192.0.2.9:80"\nipv6 = "[2001:db8::9]:80"\n'
CLAT = '[clat]\nipv6 = "2001:db8:1::464"\nplat'
STATELESS = 'pool6 = "64:ff9b::/96"\n[[eam]]\nipv4 = "198.51.100.1"\nipv6 = "2001:db8::1"\n[tun]\nipv4 = "{}"\n'


@pytest.mark.parametrize(
    ("text", "private"),
    [
        *((STATELESS.format(address), True) for address in ("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1")),
        (STATELESS.format("203.0.113.1"), False),
        (STATELESS.format("10.0.0.1") + '[translation]\nrfc6791_ipv4 = ["203.0.113.99"]\n', False),
        (STATELESS.format("10.0.0.1") + '[[pool4]]\naddresses = "192.0.2.1"\n', False),
        (STATELESS.format("10.0.0.1") + FORWARD, False),
        (STATELESS.format("10.0.0.1").replace("pool6", CLAT), False),
    ],
)
def test_rfc6791_3_1_a_private_address_of_ours_as_the_source_of_errors_raises_a_warning(text, private):
    began = [warning.partition(":")[0] for warning in warnings(loads(text))]
    expected = f"[tun] ipv4 = {loads(text).tun.ipv4} is private, and the source of ICMP errors of IPv6 routers"
    assert began == ([expected] if private else [])


@pytest.mark.parametrize(
    ("clients", "told"), [('["::/0"]', 1), ('["0.0.0.0/0", "::/0"]', 2), ('["2001:db8::/32"]', 0), ('"local"', 0)]
)
def test_a_name_server_for_everybody_is_warned_of(clients, told):
    sentences = warnings(loads(f"{MINIMAL}[dns64]\nclients = {clients}\n"))
    assert len(sentences) == told
    assert all("open resolver" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("http", "told"),
    [("127.0.0.1:6464", 0), ("127.9.9.9:1", 0), ("[::1]:6464", 0), ("", 0), ("[::]:6464", 1), ("192.0.2.1:6464", 1)],
)
def test_a_monitoring_listener_for_other_hosts_is_warned_of(http, told):
    sentences = warnings(loads(f'{MINIMAL}[api]\nhttp = "{http}"\n'))
    assert [sentence.startswith(f'[api] http = "{http}": other hosts can read') for sentence in sentences] == [
        True
    ] * told


@pytest.mark.parametrize(("mode", "warned"), [("0660", 0), ("0664", 0), ("0666", 1), ("0602", 1)])
def test_a_socket_for_everybody_is_warned_about(mode, warned):
    found = [sentence for sentence in warnings(loads(MINIMAL + f'[api]\nmode = "{mode}"\n')) if "[api]" in sentence]
    assert len(found) == warned
    assert all(sentence.startswith(f'[api] mode = "{mode}": every user') for sentence in found)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ('session_file = "/var/log/nat64d/x"', ["session_file"]),
        ('session_file = "/var/log/nat64d/x"\nipfix = "192.0.2.5:4739"', ["session_file", "ipfix"]),
        ('ipfix = "192.0.2.5:4739"\nsessions = "sessions"', []),
        ("", []),
    ],
)
def test_a_place_for_sessions_that_are_not_logged_is_warned_about(keys, named):
    found = warnings(loads(f"{MINIMAL}[log]\n{keys}\n"))
    assert [sentence.partition(" = ")[0] for sentence in found] == [f"[log] {name}" for name in named]


SERVICE = '[[service]]\nname = "web"\nipv4 = "198.51.100.1:80"\nsources = [{}]\n'
NO_POOL4 = (
    "[[service]] without [[pool4]]: hosts behind this gateway, its endpoints among them, do not reach its addresses, "
    "which they are told of under pool6: they have none of pool4 to come from."
)
DENIED = "[[service]] #1 web serves nobody: all of its sources are in [translation] denylist4."


@pytest.mark.parametrize(
    ("sources", "more", "told"),
    [
        ("", "", []),
        ("", "[dns64]\n", [NO_POOL4]),
        ("", '[ra]\ninterface = ["eth0"]\n', [NO_POOL4]),
        ("", "[dns64]\n[[pool4]]\naddresses = '192.0.2.1'\n", []),
        ("'192.0.2.0/25', '10.0.0.0/8'", "", []),
        ("'192.0.2.0/25', '192.0.2.192/26'", "", [DENIED]),
    ],
)
def test_services_that_some_clients_cannot_reach_are_warned_of(sources, more, told):
    text = 'pool6 = "2001:db8:64::/96"\n' + SERVICE.format(sources) + more + "[translation]\ndenylist4 = [{}]\n"
    denied = "'192.0.2.0/24', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'"
    found = [sentence for sentence in warnings(loads(text.format(denied))) if "[[service]]" in sentence]
    assert found == told


def test_clients_with_private_addresses_are_refused_under_the_well_known_prefix():
    (sentence,) = (one for one in warnings(loads(MINIMAL + SERVICE.format(""))) if "[[service]]" in one)
    assert sentence.startswith("[[service]] writes its clients under pool6, and 64:ff9b::/96 must not carry private")
