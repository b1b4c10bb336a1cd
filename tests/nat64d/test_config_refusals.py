"""What the configuration refuses, and the exact words: one line a mistake, with place, value and expectation."""

import codecs
import re
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config import toml
from nat64d.config.errors import ConfigError
from nat64d.config.load import DEFAULT, dump, load, loads
from nat64d.config.models import Config
from translator.static.blocks import NON_GLOBAL4

MINIMAL = """\
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1/32"
"""

PREFIX4 = "an IPv4 prefix such as 192.0.2.0/24"
PREFIX6 = "an IPv6 prefix such as 2001:db8::/32"
UNICAST4 = "unicast addresses, outside 0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3"
ROUTABLE4 = "addresses outside 169.254.0.0/16, whose packets routers drop (RFC 3927 section 2.7)"
UNICAST6 = "unicast addresses, outside ::/64, fe80::/10 and ff00::/8"
LISTENER = 'an address and a port such as "127.0.0.1:6464" or "[::1]:6464"'
NAME = "an interface name: 1 to 15 printable ASCII characters, none of them space, slash, colon or %"
LATER = "not supported by this version; remove it"


def complaints(text: str) -> list[str]:
    """The lines of everything that is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        loads(text, "x.toml")
    return [str(problem) for problem in caught.value.problems]


# Values: key, bad value, what is expected instead.  Each is put into the section where it belongs.
VALUES = [
    ("pool6", '"64:ff9b::/97"', "a prefix length of 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)"),
    ("pool6", '"2001:db8::/36"', "a prefix length of 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)"),
    ("pool6", '"64:ff9b::/64"', "64:ff9b::/96, in no other length, or another prefix (RFC 6052 section 2.1)"),
    ("pool6", '"2001:db8:0:0:100::/96"', "a prefix whose bits 64 to 71 are zero (RFC 6052 section 2.2)"),
    ("pool6", '"2001:db8::1/96"', "zeros beyond the prefix length, as in 2001:db8::/96"),
    ("pool6", '"ff00::/96"', UNICAST6),
    ("pool6", '"::ffff:0:0/96"', UNICAST6),
    ("pool6", '"192.0.2.0/24"', "an IPv6 prefix such as 64:ff9b::/96"),
    ("pool6", "96", "an IPv6 prefix such as 64:ff9b::/96"),
    ("strict_well_known_prefix", '"yes"', "true or false"),
    ("strict_well_known_prefix", "1", "true or false"),
    ("[tun] name", '"much_too_long_name"', NAME),
    ("[tun] name", '"a/b"', NAME),
    ("[tun] name", '"a%d"', NAME),
    ("[tun] name", '".."', NAME),
    ("[tun] name", '""', NAME),
    ("[tun] mtu", "1279", "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[tun] mtu", "65536", "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[tun] mtu", '"1500"', "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[tun] mtu", "1500.0", "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[tun] mtu", "true", "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[tun] queues", "0", '"auto" or a whole number from 1 to 256'),
    ("[tun] queues", '"all"', '"auto" or a whole number from 1 to 256'),
    ("[tun] offload", "[]", "true or false"),
    ("[tun] ipv4", '"127.0.0.1"', UNICAST4),
    ("[tun] ipv4", '"192.0.2.1/24"', "an IPv4 address such as 192.0.2.1"),
    ("[tun] ipv6", '"ff02::1"', UNICAST6),
    ("[tun] ipv6", '"fe80::1%eth0"', "an IPv6 address such as 2001:db8::1"),
    ("[host] masquerade", '"eth 0"', f'"auto", "off" or {NAME}'),
    ("[host] masquerade", "true", f'"auto", "off" or {NAME}'),
    ("[host] firewall", '"on"', '"auto" or "off"'),
    ("[host] routes", '"auto"', "true or false"),
    ("[timeouts] udp", "119", "a whole number from 120 to 1209600 (RFC 6146 section 4, UDP_MIN)"),
    ("[timeouts] tcp_established", "7200", "a whole number from 7440 to 1209600 (RFC 5382 REQ-5, 2 hours 4 minutes)"),
    ("[timeouts] tcp_opening", "5", "a whole number from 6 to 1209600 (RFC 7857 section 2.1)"),
    ("[timeouts] tcp_closing", "239", "a whole number from 240 to 1209600 (RFC 5382 REQ-5, 4 minutes)"),
    ("[timeouts] tcp_transitory", "239", "a whole number from 240 to 1209600 (RFC 5382 REQ-5, 4 minutes)"),
    ("[timeouts] tcp_incoming_syn", "5", "a whole number from 6 to 60 (RFC 5382 REQ-4, 6 seconds)"),
    ("[timeouts] icmp", "30", "a whole number from 60 to 1209600 (RFC 5508 REQ-2, 60 seconds)"),
    ("[timeouts] fragment", "1", "a whole number from 2 to 60 (RFC 6146 section 4, FRAGMENT_MIN)"),
    ("[limits] sessions", "15", "a whole number from 16 to 16777216"),
    ("[limits] sessions", "16777217", "a whole number from 16 to 16777216"),
    ("[limits] subscriber", "47", "a whole number from 48 to 128 (the length of a prefix)"),
    ("[limits] per_host_sessions", "-1", "a whole number from 0 to 16777216"),
    ("[limits] per_host_ports", "65536", "a whole number from 0 to 65535"),
    ("[limits] per_host_rate", "-1", "a whole number from 0 to 1000000"),
    ("[limits] pairing", '"paired"', '"strict" or "soft"'),
    ("[limits] icmp_errors_per_second", "-1", "a whole number from 0 to 1000000"),
    ("[filtering] address_dependent", "0", "true or false"),
    ("[translation] mtu4", "67", '"auto" or a whole number from 68 to 65535 (RFC 791)'),
    ("[translation] mtu6", "1279", '"auto" or a whole number from 1280 to 65535 (RFC 8200 section 5)'),
    ("[translation] lowest_ipv6_mtu", '"auto"', "a whole number from 1280 to 65535 (RFC 8200 section 5)"),
    ("[translation] udp_zero_checksum", '"keep"', '"calculate", "drop" or "forward"'),
    ("[translation] traffic_class", "256", '"copy" or a whole number from 0 to 255'),
    ("[translation] mtu_plateaus", "[68, 296]", "a list with the largest number first"),
    ("[translation] mtu_plateaus", "[296, 67]", "a whole number from 68 to 65535 (item 2)"),
    ("[translation] mtu_plateaus", "[68, 68]", "a list without duplicates (68 is listed twice)"),
    ("[translation] mtu_plateaus", "[]", "a list of numbers of octets, at least 1"),
    ("[translation] denylist4", '["10.0.0.0/8", "x"]', f"{PREFIX4} (item 2)"),
    ("[translation] denylist4", '["10.0.0.1/8"]', "zeros beyond the prefix length, as in 10.0.0.0/8 (item 1)"),
    ("[translation] denylist4", '["10.0.0.0/255.0.0.0"]', f"{PREFIX4} (item 1)"),
    ("[translation] denylist4", '["x", { a = 1.5 }]', f"{PREFIX4} (item 1)"),
    ("[translation] rfc6791_ipv4", '"192.0.2.0/24"', "a list of IPv4 prefixes"),
    ("[translation] rfc6791_ipv4", '["127.0.0.0/30"]', f"{UNICAST4} (item 1)"),
    ("[translation] rfc6791_ipv4", '["192.0.2.1", "0.0.0.0/0"]', f"{UNICAST4} (item 2)"),
    ("[translation] rfc6791_ipv4", '["192.0.2.1", "169.254.1.0/24"]', f"{ROUTABLE4} (item 2)"),
    ("[translation] rfc6791_ipv4", '["192.0.2.0/24", "10.0.0.0/20"]', "at most 4096 addresses, not 4352"),
    ("[translation] rfc6791_ipv6", '"192.0.2.1"', PREFIX6),
    ("[translation] rfc6791_ipv6", '"fe80::/64"', UNICAST6),
    ("[translation] rfc6791_ipv6", '"::/0"', UNICAST6),
    ("[translation] rfc6791_ipv6", '"64:ff9b::1"', "addresses outside pool6, 64:ff9b::/96"),
    ("[translation] rfc6791_ipv6", '"64:ff9b::/64"', "addresses outside pool6, 64:ff9b::/96"),
    ("[translation] udp_zero_checksum_ports", '["53"]', "a table"),
    ("[api] socket", '"api.sock"', "the absolute path of a file"),
    ("[api] socket", f'"/{"s" * 107}"', "a path of at most 107 octets, as unix sockets need"),
    ("[api] mode", '"0060"', 'a mode in octal that lets the owner read and write, such as "0660"'),
    ("[api] mode", "660", 'a mode in octal that lets the owner read and write, such as "0660"'),
    ("[api] group", '"two words"', '"" or the name of a group'),
    ("[api] http", '"6464"', f'"" or {LISTENER}'),
    ("[api] http", '"::1:6464"', f'"" or {LISTENER}'),
    ("[api] http", '"127.0.0.1:0"', f'"" or {LISTENER}'),
    ("[log] level", '"loud"', '"debug", "info", "warning" or "error"'),
    ("[log] format", "{ a = 1 }", '"text" or "json"'),
    ("[limits] fragments_memory", "-1", "a whole number from 0 to 1073741824"),
    ("[limits] fragments_memory", "1073741825", "a whole number from 0 to 1073741824"),
    ("[limits] port_block", "7", "0 or a whole number from 8 to 65535"),
    ("[limits] port_block", "65536", "a whole number from 0 to 65535"),
    ("[limits] blocks", "0", "a whole number from 1 to 64"),
    ("[limits] blocks", "65", "a whole number from 1 to 64"),
    # Well-formed, but for a later version.
    ("[translation] eam_hairpin", '"on"', '"intrinsic", "simple" or "off"'),
    (
        "[translation] clamp_mss",
        "535",
        '"services", true or false or a whole number from 536 to 65475 (RFC 9293 section 3.7.1)',
    ),
    ("[state] file", '"/var/lib/nat64d/"', '"auto" or the absolute path of a file'),
    ("[state] keep", "1", "true or false"),
    ("[log] sessions", '"port-blocks"', '"off", "blocks", "mappings" or "sessions"'),
    ("[log] ipfix", '"collector.example:4739"', f'"" or {LISTENER}'),
    ("[log] ipfix_domain", "4294967296", "a whole number from 0 to 4294967295"),
    ("[log] ipfix_refresh", "0", "a whole number from 1 to 3600"),
    ("[log] session_file", '"sessions.log"', '"" or the absolute path of a file'),
]


@pytest.mark.parametrize(("place", "value", "expected"), VALUES, ids=lambda text: text[:40])
def test_a_wrong_value_is_named_with_its_place_and_what_was_expected(place, value, expected):
    section, _, key = place.rpartition(" ")
    shown = "" if value.startswith("{") else f" = {value}" if len(value) <= 80 else f" = {value[:79]}…"
    if section:
        text = f"{MINIMAL}{section}\n{key} = {value}\n"
    else:
        kept = MINIMAL.replace('pool6 = "64:ff9b::/96"\n', "") if key == "pool6" else MINIMAL
        text = f"{key} = {value}\n{kept}"
    complaint = expected if expected == LATER else f"expected {expected}"
    assert complaints(text) == [f"x.toml: {place}{shown}: {complaint}"]


LENGTHS = "a prefix length of 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)"
SERVICE = '[[service]]\nname = "web"\nprotocol = "tcp"\nipv4 = "203.0.113.9:80"\nendpoints = ["[2001:db8::1]:80"]\n'
PREFIXES = {
    "pool6": MINIMAL.replace("64:ff9b::/96", "{}"),
    "clat": '[clat]\nipv6 = "2001:db8:1::464"\nplat = "{}"\n',
    "range": MINIMAL + '[dns64]\nranges = [{{ ipv4 = "10.0.0.0/8", pool6 = "{}" }}]\n',
    "policy": MINIMAL + '[dns64]\npolicy = [{{ clients = ["3fff::/48"], pool6 = "{}" }}]\n',
    "services": MINIMAL + '[services]\nclient_prefix = "{}"\n',
    "service": MINIMAL + SERVICE + 'client_prefix = "{}"\n',
}
every_place = pytest.mark.parametrize("text", PREFIXES.values(), ids=PREFIXES)


@every_place
def test_rfc6052_2_2_no_other_prefix_length_is_taken(text):
    for length in set(range(129)) - {32, 40, 48, 56, 64, 96}:
        (line,) = complaints(text.format(IPv6Network(("2001:db8::", length), strict=False)))
        assert line.endswith(LENGTHS), length


@every_place
@pytest.mark.parametrize("prefix", ["::/64", "::/96", "fe80::/64", "febf:ffff::/32", "ff00::/32", "ff05::/96"])
def test_rfc6146_3_a_prefix_is_unicast(text, prefix):
    (line,) = complaints(text.format(prefix))
    assert line.endswith(UNICAST6)


@pytest.mark.parametrize(
    "first", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]
)
def test_rfc6146_3_the_addresses_of_a_pool_are_unicast(first):
    (line,) = complaints(MINIMAL.replace("192.0.2.1", first))
    assert line.endswith(UNICAST4)


@every_place
@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
def test_rfc6052_2_2_the_six_prefix_lengths_are_taken_wherever_a_prefix_is(text, length):
    prefix = IPv6Network(("3fff:64::", length))
    assert str(prefix) in dump(loads(text.format(prefix), "x.toml"))


@every_place
def test_rfc6052_2_1_the_well_known_prefix_has_96_bits(text):
    for length in (32, 40, 48, 56, 64):
        (line,) = complaints(text.format(IPv6Network(("64:ff9b::", length))))
        assert line.endswith(": expected 64:ff9b::/96, in no other length, or another prefix (RFC 6052 section 2.1)")


@pytest.mark.parametrize("block", NON_GLOBAL4, ids=str)
def test_rfc6052_3_1_a_range_under_the_well_known_prefix_is_of_global_addresses(block):
    text = MINIMAL + '[dns64]\nranges = [{{ ipv4 = "{}", pool6 = "64:ff9b::/96" }}]\n'
    assert loads(text.format("8.8.8.0/24"))
    for ipv4 in (block, f"{block[0]}/32", f"{block[-1]}/32", block.supernet()):
        (line,) = complaints(text.format(ipv4))
        assert line.endswith("the well-known one is for global addresses (RFC 6052 section 3.1)")


@every_place
def test_rfc6052_2_2_bits_64_to_71_of_a_prefix_are_zero(text):
    for bit in range(64, 72):
        (line,) = complaints(text.format(IPv6Network((int(IPv6Address("2001:db8::")) | 1 << 127 - bit, 96))))
        assert line.endswith("a prefix whose bits 64 to 71 are zero (RFC 6052 section 2.2)"), bit


@pytest.mark.parametrize("bit", [63, 72])
def test_rfc6052_2_2_the_bits_around_them_may_be_set(bit):
    pool6 = IPv6Network((int(IPv6Address("2001:db8::")) | 1 << 127 - bit, 96))
    assert loads(MINIMAL.replace("64:ff9b::/96", str(pool6))).pool6 == pool6


CASES = re.findall(
    r"^## (whole file: )?(.+)\n((?:(?!=> |## ).*\n)*)((?:=> .+\n)+)",
    Path(__file__).with_name("refusals.txt").read_text(),
    flags=re.MULTILINE,
)


@pytest.mark.parametrize(("whole", "title", "text", "expected"), CASES, ids=[case[1] for case in CASES])
def test_mistakes_are_refused_in_the_words_of_refusals_txt(whole, title, text, expected):
    lines = complaints(text if whole else MINIMAL + text)
    assert "".join(line.replace("x.toml:", "=>", 1) + "\n" for line in lines) == expected


def test_every_case_of_refusals_txt_is_run():
    assert len(CASES) == Path(__file__).with_name("refusals.txt").read_text().count("\n## ") > 40


def test_a_problem_can_be_taken_apart():
    with pytest.raises(ConfigError) as caught:
        loads(MINIMAL + "[tun]\nmtu = 9\n", "x.toml")
    (problem,) = caught.value.problems
    expected = "a whole number from 1280 to 65535 (RFC 8200 section 5)"
    assert (problem.file, problem.key, problem.value) == ("x.toml", "[tun] mtu", "9")
    assert problem.complaint == f"expected {expected}"
    assert str(caught.value) == str(problem)


SECTIONS = [
    "pool6",
    "pool4",
    "forward",
    "eam",
    "service",
    "clat",
    "tun",
    "host",
    "limits",
    "translation",
    "dns64",
    "api",
]
KEYS = [
    "addresses",
    "ports",
    "source",
    "ipv4",
    "ipv6",
    "protocol",
    "endpoints",
    "health",
    "mtu",
    "masquerade",
    "listen",
]
NAMES = st.sampled_from(KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
TEXTS = st.sampled_from(
    ["", "auto", "64:ff9b::/96", "192.0.2.0-192.0.2.9", "[::1]:1", "interface:x", "a\nb"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES_OF_ANY_TYPE = st.recursive(
    st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(NAMES, VALUES_OF_ANY_TYPE, max_size=4)


@given(st.dictionaries(st.sampled_from(SECTIONS) | NAMES, TABLES | st.lists(TABLES, max_size=3) | VALUES_OF_ANY_TYPE))
def test_whatever_a_file_says_it_is_accepted_or_refused_in_lines(sections):
    text = "".join(f"{toml.key(name)} = {toml.value(content)}\n" for name, content in sections.items())
    try:
        assert isinstance(loads(text), Config)
    except ConfigError as error:
        lines = [str(problem) for problem in error.problems]
        assert all(line.startswith("configuration: ") and len(line.splitlines()) == 1 for line in lines), lines


def test_a_byte_order_mark_is_passed_over(tmp_path):
    file = tmp_path / "nat64d.toml"
    file.write_bytes(codecs.BOM_UTF8 + DEFAULT.encode())
    assert load(file) == load(None)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path, encoding):
    file = tmp_path / "nat64d.toml"
    file.write_bytes(f"\ufeff{DEFAULT}".encode(encoding))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: is UTF-16: expected UTF-8 text, save it so"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"a = {'9' * 5000}", "c: line 1: expected a number of fewer digits"),
        (f"a = {'[' * 5000}", "c: expected TOML: lists or tables are nested too deeply"),
        ('a = "\x1b[2J"', "c: line 1, column 6: "),
        ("a = 1\n" * 2, "c: line 2: a = 1: given twice, also in line 1; remove one of them"),
        ("a = [\n1,\n]\na = 2 # no", "c: line 4: a = 2 # no: given twice, also in line 1; remove one of them"),
        ("b = 1\na = [\n1,\n]\nb = [\n1,\n]\n", "c: line 5: b = [: given twice, also in line 1; remove one of them"),
    ],
)
def test_what_is_not_toml_is_one_line_that_names_the_place(text, complaint):
    with pytest.raises(ConfigError) as caught:
        loads(text, "c")
    assert str(caught.value).startswith(complaint)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_every_complaint_of_tomllib_is_in_our_words():
    """Its own words change with the version, so every beginning that we know is tried through what causes it."""
    causes = ["=", "a b", "a", "a=", "a=1 1", 'a="', "a='''", "a=[1", "a={b=1", "[a", "[[a", r'a="\q"', r'a="\uZZZZ"']
    for cause in [*causes, r'a="\uD800"', 'a="\x01"', "a='\n'", "a={b=1,}", "a=2020-02-31T00:00:00", "a.=1"]:
        with pytest.raises(ConfigError) as caught:
            loads(cause, "c")
        assert "https://toml.io" not in str(caught.value), cause
        assert "line 1" in str(caught.value), cause
