"""A configuration file as the policies of the name server: what is made of which address, and what is left out."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import dns.rdatatype
import dns.reversename
import pytest

from nat64d.config.load import loads
from nat64d.dns64.message import wire
from nat64d.dns64.rules import local
from nat64d.dns64.rules.policy import Policy, policy_in
from nat64d.dns64.service.plan import plan


def policies(text: str) -> list[Policy]:
    """The policies that a process gets, the one for all other clients last."""
    pool4 = '[[pool4]]\naddresses = "198.51.100.1"\n'
    return [policy_in(each) for each in plan(loads(text.replace("[dns64]", f"{pool4}[dns64]")), [], [])["policies"]]


def made(policy: Policy, addr4: str) -> str | None:
    """The address that a policy makes."""
    data = policy.embed(IPv4Address(addr4).packed)
    return str(IPv6Address(data)) if data else None


MAPPED = ["::ffff:0.0.0.0", "::ffff:192.0.2.1", "::ffff:255.255.255.255"]


@pytest.mark.parametrize(
    ("key", "excluded"),
    [
        ("", MAPPED),
        ('exclude = ["2001:db8::/32"]', ["2001:db8::1"]),
        ('exclude = ["::ffff:0:0/96", "2001:db8::/32"]', [*MAPPED, "2001:db8::1"]),
        ("exclude = []", []),
    ],
)
def test_rfc6147_5_1_4_which_aaaa_records_are_left_out(key: str, excluded: list[str]) -> None:
    given = policies(f'pool6 = "64:ff9b::/96"\n[dns64]\n{key}\npolicy = [{{ clients = ["2001:db8:1::/48"] }}]\n')
    tried = (*MAPPED, "2001:db8::1", "::fffe:ffff:ffff", "::1:0:0:0", "64:ff9b::192.0.2.1")
    for policy in given:
        assert [text for text in tried if policy.excludes(IPv6Address(text).packed)] == excluded


def test_rfc6147_5_1_4_a_policy_may_leave_out_other_records_and_spares_and_forces_the_same_names() -> None:
    given = policies("""
pool6 = "64:ff9b::/96"
[dns64]
exclude = ["2001:db8::/32"]
exclude_names = ["spared.Example"]
force_names = ["forced.Example"]
policy = [
    { clients = ["2001:db8:1::/48"], exclude = ["2001:db9::/32"] },
    { clients = ["2001:db8:2::/48"], exclude = [] },
    { clients = ["2001:db8:3::/48"] },
]
""")
    tried = ("::ffff:192.0.2.1", "2001:db8::1", "2001:db9::1")
    found = [[text for text in tried if policy.excludes(IPv6Address(text).packed)] for policy in given]
    assert found == [["2001:db9::1"], [], ["2001:db8::1"], ["2001:db8::1"]]
    for policy in given:
        names = [wire.name_of(name) for name in ("www.spared.example", "www.forced.example", "www.example")]
        assert [bool(policy.spares(name)) for name in names] == [True, False, False]
        assert [bool(policy.forces(name)) for name in names] == [False, True, False]


@pytest.mark.parametrize(
    ("address", "type_", "data"),
    [
        ("2001:db8:64::192.0.0.170", dns.rdatatype.PTR, wire.name_of("ipv4only.arpa")),
        ("2001:db8:64::192.0.0.171", dns.rdatatype.PTR, wire.name_of("ipv4only.arpa")),
        ("2001:db8:64::192.0.2.1", dns.rdatatype.CNAME, wire.name_of("1.2.0.192.in-addr.arpa")),
        ("2001:db8:65::192.0.2.1", None, None),
    ],
)
def test_rfc8880_7_2_1_reverse_names_under_a_discovered_prefix(
    address: str, type_: int | None, data: bytes | None
) -> None:
    config = loads('[clat]\nipv6 = "2001:db8:1::464"\nplat = "discover"\n[dns64]\n')
    found = config.with_plat(IPv6Network("2001:db8:64::/96"))
    policy = policy_in(plan(found, [], [])["policies"][-1])
    question = wire.Question(wire.name_of(dns.reversename.from_address(address).to_text()), wire.PTR, wire.IN, 0)
    answer = local.answer(question, policy, None, True)
    records = answer.sections[0] if answer else []
    assert [(record.type, record.data) for record in records] == ([(type_, data)] if data else [])


WELL_KNOWN, OWN = "64:ff9b::/96", "2001:db8:64::/96"
PRIVATE = (  # RFC 6052 section 3.1: the first and the last address of each block
    *("10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "172.16.0.0", "172.31.255.255"),
    *("192.0.0.0", "192.0.0.255", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255"),
)
NO_HOST = (
    *("0.0.0.0", "0.255.255.255", "127.0.0.0", "127.255.255.255", "169.254.0.0", "169.254.255.255"),
    *("224.0.0.0", "255.255.255.255"),
)
AROUND = (
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0"),
    *("192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
)


@pytest.mark.parametrize("addr4", PRIVATE + NO_HOST)
def test_rfc6052_3_1_no_address_that_is_not_global_under_the_well_known_prefix(addr4: str) -> None:
    (policy,) = policies('pool6 = "64:ff9b::/96"\n[dns64]\n')
    assert made(policy, addr4) is None


@pytest.mark.parametrize("addr4", PRIVATE)
@pytest.mark.parametrize(("gateway", "client"), [(WELL_KNOWN, OWN), (OWN, WELL_KNOWN)])
def test_rfc6052_3_1_the_prefix_of_the_client_is_the_one_that_counts(gateway: str, client: str, addr4: str) -> None:
    row = f'{{ clients = ["2001:db8:1::/48"], pool6 = "{client}" }}'
    elsewhere, here = policies(f'pool6 = "{gateway}"\n[dns64]\npolicy = [{row}]\n')
    assert (made(elsewhere, addr4) is None) is (client == WELL_KNOWN)
    assert (made(here, addr4) is None) is (gateway == WELL_KNOWN)


@pytest.mark.parametrize("addr4", PRIVATE)
@pytest.mark.parametrize(
    ("pool6", "more"),
    [("2001:db8:64::/96", ""), ("64:ff9b::/96", "strict_well_known_prefix = false\n")],
)
def test_private_addresses_under_another_prefix_or_if_the_operator_allows_it(addr4: str, pool6: str, more: str) -> None:
    (policy,) = policies(f'pool6 = "{pool6}"\n{more}[dns64]\n')
    assert made(policy, addr4) == str(IPv6Address(int(IPv6Address(pool6[:-3])) + int(IPv4Address(addr4))))


@pytest.mark.parametrize(
    ("denied", "others"),
    [
        ("", ("8.8.8.8",)),
        ('denylist4 = ["8.8.8.8/32", "198.51.100.0/24"]', ("100.100.100.200", "198.51.100.1", "8.8.8.7")),
    ],
)
def test_what_denylist4_keeps_from_being_translated_is_not_made(denied: str, others: tuple[str, ...]) -> None:
    """Addresses of [[pool4]] are exempt, and so are prefixes of other translators."""
    elsewhere, *here = policies(f"""
pool6 = "2001:db8:64::/96"
[translation]
{denied}
[dns64]
policy = [{{ clients = ["2001:db8:1::/48"], pool6 = "2001:db8:65::/96" }}, {{ clients = ["2001:db8:2::/48"] }}]
""")
    left_out = ("8.8.8.8", "198.51.100.2") if denied else ("100.100.100.200", "168.63.129.16", "192.0.0.192")
    for policy in here:
        assert [made(policy, addr4) for addr4 in left_out] == [None] * len(left_out)
        assert all(made(policy, addr4) for addr4 in others)
    assert all(made(elsewhere, addr4) for addr4 in (*left_out, *others))


@pytest.mark.parametrize("addr4", ["192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", *AROUND])
def test_documentation_blocks_and_global_addresses_are_made(addr4: str) -> None:
    (policy,) = policies('pool6 = "64:ff9b::/96"\n[dns64]\n')
    assert made(policy, addr4) is not None


def test_rfc8880_7_1_each_client_finds_its_own_prefix() -> None:
    given = policies("""
pool6 = "2001:db8:64::/96"
[dns64]
ranges = [{ ipv4 = "192.0.0.0/24", pool6 = "64:ff9b:1::/96" }]
policy = [
    { clients = ["2001:db8:1::/48"], pool6 = "2001:db8:65::/96" },
    { clients = ["2001:db8:2::/48"], synthesise = false },
]
""")
    question = wire.Question(wire.name_of("ipv4only.arpa"), wire.AAAA, wire.IN, 0)
    answers = [local.answer(question, policy, None, True) for policy in given]
    found = [[str(IPv6Address(record.data)) for record in answer.sections[0]] for answer in answers if answer]
    assert found == [
        ["2001:db8:65::c000:aa", "2001:db8:65::c000:ab"],
        [],
        ["2001:db8:64::c000:aa", "2001:db8:64::c000:ab"],
    ]


def test_rfc6147_6_3_3_a_policy_is_for_each_of_its_clients() -> None:
    """And what it says of them goes to the processes."""
    clients = ["2001:db8:1::/48", "10.0.0.0/8", "2001:db8:2::/48"]
    own, other = policies(f"""
pool6 = "64:ff9b::/96"
[dns64]
clients = ["2001:db8::/32", "10.0.0.0/7"]
policy = [{{ clients = {clients}, synthesise = false, filter_a = true }}]
""")
    assert [own.serves(ip_address(text)) for text in ("2001:db8:1::1", "10.1.2.3", "2001:db8:2::1")] == [True] * 3
    assert not any(own.serves(ip_address(text)) for text in ("2001:db8:3::1", "11.1.2.3"))
    assert all(other.serves(ip_address(text)) for text in ("2001:db8:3::1", "11.1.2.3"))
    for policy, makes in ((own, False), (other, True)):
        assert (policy.makes(wire.AAAA), policy.filter_a) == (makes, not makes)


def test_rfc6147_5_2_the_configured_prefixes_are_used() -> None:
    first, *rest = policies("""
pool6 = "2001:db8:64::/96"
[dns64]
ranges = [{ ipv4 = "10.0.0.0/8", pool6 = "64:ff9b:1::/96" }, { ipv4 = "172.16.0.0/12" }]
policy = [{ clients = ["2001:db8:1::/48"], pool6 = "2001:db8:65::/96" }, { clients = ["2001:db8:2::/48"] }]
""")
    assert len(rest) == 2
    for policy, prefix in ((first, "2001:db8:65::"), *((each, "2001:db8:64::") for each in rest)):
        assert [made(policy, addr4) for addr4 in ("8.8.8.8", "10.0.0.1", "172.16.0.1")] == [
            f"{prefix}808:808",
            "64:ff9b:1::a00:1",
            None,
        ]


@pytest.mark.parametrize("name", ["ipv4only.arpa", "www.ipv4only.arpa"])
def test_rfc8880_7_1_without_a_prefix_the_name_is_like_any_other(name: str) -> None:
    """Of a name server for DNS46, and of one that waits for the prefix of the provider."""
    row = '[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:e::7"\n'
    for text in (f"{row}[dns64]\ndns46 = true\n", '[clat]\nipv6 = "2001:db8:1::464"\n[dns64]\n'):
        (policy,) = [policy_in(each) for each in plan(loads(text), [], [])["policies"]]
        for type_ in (wire.A, wire.AAAA):
            assert local.answer(wire.Question(wire.name_of(name), type_, wire.IN, 0), policy, None, True) is None
