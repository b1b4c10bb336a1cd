"""The configuration: what is accepted, what it means, where it is found, and that it can be written back."""

import re
import subprocess
import sys
import tomllib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from nat64d.config import defaults
from nat64d.config.errors import ConfigError
from nat64d.config.load import dump, load, loads
from nat64d.config.models import Clat, Config, Dns64, Eam, Forward, Pool4, Ra, Section, ZeroChecksumPorts
from nat64d.config.services import Service
from nat64d.config.warnings import warnings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "config" / "nat64d.toml"
FILES = sorted((ROOT / "config").rglob("*.toml"))

MINIMAL = """\
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1/32"
"""


def test_the_built_in_default_masquerades_a_private_pool():
    config = load(None)
    assert config.pool6 == IPv6Network("64:ff9b::/96")
    assert [str(pool.range) for pool in config.pool4] == ["169.254.64.0-169.254.64.15"]
    assert config.host.masquerade == "auto"
    assert config.tun.ipv4 == IPv4Address("169.254.64.254")
    assert warnings(config) == []


def test_a_file_with_its_own_pool_is_not_masqueraded_and_has_no_address_of_its_own():
    config = loads(MINIMAL)
    assert config.host.masquerade == "off"
    assert config.tun.ipv4 is None
    assert config.tun.ipv6 == IPv6Address("fd6e:6174:3634::1")
    assert config.strict_well_known_prefix


def test_pool4_in_numbers():
    config = loads(MINIMAL + "[[pool4]]\naddresses = '198.51.100.1-198.51.100.9'\nports = '80'\nprotocols = ['udp']\n")
    whole, part = config.pool4
    assert str(whole.range) == "192.0.2.1-192.0.2.1"
    assert (whole.port_range, whole.protocols) == ((1024, 65535), ("tcp", "udp", "icmp"))
    assert whole.source is None
    assert str(part.range) == "198.51.100.1-198.51.100.9"
    assert (part.port_range, part.protocols) == ((80, 80), ("udp",))


def test_the_customer_side_in_numbers():
    config = loads('[clat]\nipv6 = "2001:db8:1::464"\nplat = "2001:db8:64::/96"\n')
    assert config.clat == Clat(ipv6="2001:db8:1::464", plat="2001:db8:64::/96")
    assert config.clat.ipv4 == IPv4Network("192.0.0.1/32"), "RFC 7335"
    assert config.pool6 == config.clat.plat == IPv6Network("2001:db8:64::/96")
    assert config.mappings == (config.clat,)
    assert loads(dump(config)) == config


def test_the_prefix_of_the_provider_is_discovered_unless_it_is_given():
    config = loads('[clat]\nipv4 = "192.168.7.0/24"\nipv6 = "2001:db8:1::/64"\n')
    assert (config.clat.plat, config.pool6) == ("discover", None)
    assert config.with_plat(IPv6Network("64:ff9b::/96")).pool6 == IPv6Network("64:ff9b::/96")
    assert loads(dump(config)) == config


def test_forward_in_numbers():
    row = "[[forward]]\nprotocol = 'icmp'\nipv4 = '192.0.2.2:7'\nipv6 = '[2001:db8::1]:65535'\n"
    (entry,) = loads(MINIMAL + row).forward
    assert (entry.protocol, entry.protocols) == ("icmp", ("icmp",))
    assert entry.end4 == (IPv4Address("192.0.2.2"), 7, 7)
    assert entry.end6 == (IPv6Address("2001:db8::1"), 65535, 65535)


def test_forward_of_ranges_and_protocols_in_numbers():
    row = "[[forward]]\nprotocol = ['tcp', 'udp']\nipv4 = '192.0.2.2:10000-20000'\nipv6 = '[2001:db8::1]:1-10001'\n"
    config = loads(MINIMAL + row)
    (entry,) = config.forward
    assert entry.protocols == ("tcp", "udp")
    assert (entry.end4.first, entry.end4.last, entry.end4.size) == (10000, 20000, 10001)
    assert (entry.end6.first, entry.end6.last, entry.end6.size) == (1, 10001, 10001)
    assert loads(dump(config)) == config


@pytest.mark.parametrize(
    "pool6",
    [
        *("2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56"),
        *("2001:db8:122:344::/64", "2001:db8:122:344::/96"),
    ],
)
def test_rfc6052_2_2_every_prefix_length_is_taken(pool6):
    assert loads(MINIMAL.replace("64:ff9b::/96", pool6)).pool6 == IPv6Network(pool6)


ACCEPTED = [
    ("limits", "sessions = 16", 16),
    ("limits", "sessions = 16777216", 16777216),
    ("timeouts", "udp = 120", 120),
    ("timeouts", "tcp_established = 7440", 7440),
    ("tun", 'name = "nat64-15-chars."', "nat64-15-chars."),
    ("tun", "queues = 4", 4),
    ("tun", "mtu = 65535", 65535),
    ("host", 'masquerade = "wan0"', "wan0"),
    ("host", 'firewall = "auto"', "auto"),
    ("translation", "mtu4 = 68", 68),
    ("translation", "mtu6 = 1280", 1280),
    ("translation", 'udp_zero_checksum = "forward"', "forward"),
    ("translation", "traffic_class = 0", 0),
    ("translation", "mtu_plateaus = [1500, 68]", (1500, 68)),
    ("translation", 'rfc6791_ipv4 = ["198.51.100.0/24"]', (IPv4Network("198.51.100.0/24"),)),
    ("translation", 'rfc6791_ipv6 = "2001:db8:6791::/64"', IPv6Network("2001:db8:6791::/64")),
    ("translation", 'rfc6791_ipv6 = "2001:db8:6791::1"', IPv6Network("2001:db8:6791::1/128")),
    ("translation", 'rfc6791_ipv4 = ["198.51.96.0/20"]', (IPv4Network("198.51.96.0/20"),)),
    ("translation", "udp_zero_checksum_ports = {}", ZeroChecksumPorts()),
    (
        "translation",
        'udp_zero_checksum_ports = { drop = ["53", "1000-2000"], forward = ["54-999"] }',
        ZeroChecksumPorts(drop=("53", "1000-2000"), forward=("54-999",)),
    ),
    ("limits", "icmp_errors_per_second = 0", 0),
    ("translation", 'denylist4 = ["10.0.0.0/8", "192.0.2.7"]', (IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.7"))),
    ("api", 'http = ""', ""),
    ("api", 'mode = "0600"', "0600"),
    ("api", 'group = "net-ops.2"', "net-ops.2"),
    ("api", 'http = "[::1]:65535"', "[::1]:65535"),
    ("api", f'socket = "/{"s" * 106}"', "/" + "s" * 106),
    ("log", 'format = "json"', "json"),
]


@pytest.mark.parametrize(("section", "line", "value"), ACCEPTED, ids=[line[:40] for _, line, _ in ACCEPTED])
def test_values_at_the_edge_are_accepted(section, line, value):
    config = loads(f"{MINIMAL}[{section}]\n{line}\n")
    assert getattr(getattr(config, section), line.split(" ")[0]) == value


def test_pools_may_share_an_address_by_port_and_a_port_by_protocol():
    rows = [("1024-2000", "tcp"), ("2001-65535", "tcp"), ("1024-65535", "udp")]
    text = "".join(f"[[pool4]]\naddresses = '192.0.2.1'\nports = '{p}'\nprotocols = ['{q}']\n" for p, q in rows)
    assert len(loads('pool6 = "64:ff9b::/96"\n' + text).pool4) == 3


def test_rfc6888_req_3_65536_pool4_addresses_are_accepted():
    assert loads(MINIMAL.replace("192.0.2.1/32", "198.18.0.0/16")).pool4[0].range.size == 65536


def test_a_forward_may_lie_in_pool4_and_differ_from_another_by_protocol_only():
    rows = "".join(
        f"[[forward]]\nprotocol = '{protocol}'\nipv4 = '192.0.2.1:53'\nipv6 = '[2001:db8::1]:53'\n"
        for protocol in ("tcp", "udp")
    )
    assert len(loads(MINIMAL + rows).forward) == 2


def test_sessions_of_each_device_are_kept_in_a_file_of_their_own():
    pool6 = 'pool6 = "64:ff9b::/96"\n'
    assert loads(pool6).state_path == Path("/run/nat64d/nat64.state")
    assert loads(f'{pool6}tun = {{ name = "nat65" }}').state_path == Path("/run/nat64d/nat65.state")
    assert loads(f'{pool6}state = {{ file = "/dev/shm/kept" }}').state_path == Path("/dev/shm/kept")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        loads(MINIMAL).tun.mtu = 9000


# Files


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_that_we_ship_loads_and_raises_no_warning(file):
    assert warnings(load(file)) == []


def test_the_reference_holds_nothing_but_defaults():
    assert load(REFERENCE) == loads(MINIMAL)


def test_the_reference_has_every_key_with_a_comment_above():
    lines = REFERENCE.read_text().splitlines()
    shown: dict[str, set[str]] = {"": set()}
    section = ""
    for above, line in zip(["", *lines], lines, strict=False):
        if heading := re.fullmatch(r"#?\[+(\w+)]+", line):
            section = heading[1]
            shown[section] = set()
        elif key := re.match(r"#?(\w+) = ", line):
            shown[section].add(key[1])
            assert above.startswith("# "), line
    assert shown == {"": keys_without_table(), **{name: set(model.model_fields) for name, model in tables().items()}}


def tables() -> dict[str, type[BaseModel]]:
    """The sections of the file; those of absent features have no default to ask."""
    rows: dict[str, type[BaseModel]] = {"pool4": Pool4, "eam": Eam, "forward": Forward, "service": Service}
    defaults = {name: field.default for name, field in Config.model_fields.items()}
    present = {name: type(default) for name, default in defaults.items() if isinstance(default, Section)}
    return rows | present | {"clat": Clat, "dns64": Dns64, "ra": Ra}


def keys_without_table() -> set[str]:
    return set(Config.model_fields) - set(tables())


def test_the_reference_with_every_line_in_force_contradicts_itself_in_clat_only():
    text = all_of_the_reference().replace('ipv6_front = "off"', 'ipv6_front = "dnat"')
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert [problem.key for problem in caught.value.problems] == ["pool6", "[clat]"], "a customer side has no sessions"


def all_of_the_reference() -> str:
    return re.sub(r"^#(?=[a-z[])", "", REFERENCE.read_text(), flags=re.MULTILINE)


def refusal(path: Path) -> str:
    """The one line about a file that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    return str(problem)


def test_a_file_that_is_missing_or_no_file_or_no_text_is_refused_in_one_line(tmp_path):
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9")
    missing = tmp_path / "missing.toml"
    assert refusal(missing) == f"{missing}: expected a readable file: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: expected a readable file: Is a directory"
    assert refusal(latin) == f"{latin}: expected UTF-8 text, here is octet 0xe9 at offset 5"


# Writing back


def keys(**values: object) -> st.SearchStrategy[str]:
    """Some of the lines `key = value` of a section."""
    lines = [st.sampled_from(["", f"{key} = {value}\n"]) for key, value in values.items()]
    return st.tuples(*lines).map("".join)


ADDRESS4 = st.integers(0x01000000, 0x7EFFFFFF).map(IPv4Address)
SECTIONS = st.tuples(
    keys(mtu=9000, queues=3, offload="false", ipv4="'198.51.100.254'", name="'a\"b\\c'").map("[tun]\n{}".format),
    keys(routes="false", masquerade="'wan0'").map("[host]\n{}".format),
    keys(denylist4="['10.0.0.0/8']", mtu4=1400, traffic_class=184, mtu_plateaus="[1500, 1280]").map(
        "[translation]\n{}".format
    ),
    keys(http="''", socket='"/tmp/\\u007f \\u00e9 \\t \\U0001F600"').map("[api]\n{}".format),
)


@given(first=ADDRESS4, ports=st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted), sections=SECTIONS)
def test_what_is_dumped_loads_to_an_equal_configuration(first, ports, sections):
    pool = f"[[pool4]]\naddresses = '{first}-{first}'\nports = '{ports[0]}-{ports[1]}'\nsource = '2001:db8::/32'\n"
    forward = f"[[forward]]\nprotocol = 'udp'\nipv4 = '{first}:{ports[0]}'\nipv6 = '[2001:db8::1]:53'\n"
    config = loads("pool6 = '2001:db9::/48'\n" + pool + forward + "".join(sections))
    assert loads(dump(config)) == config
    assert dump(loads(dump(config))) == dump(config)


def test_every_key_can_be_dumped():
    config = Config.model_validate(tomllib.loads(all_of_the_reference()))
    assert Config.model_validate(tomllib.loads(dump(config))) == config


def test_a_dump_reads_like_a_file():
    lines = dump(load(None)).splitlines()
    assert lines[:6] == [
        'pool6 = "64:ff9b::/96"',
        "strict_well_known_prefix = true",
        "",
        "[[pool4]]",
        'addresses = "169.254.64.0/28"',
        'ports = "1024-65535"',
    ]
    assert "eam = []" not in lines, "no rows, no table"


# Where clients look


def test_the_socket_is_the_one_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "CONFIG_FILE", tmp_path / "installed.toml")
    other = tmp_path / "other.toml"
    other.write_text('[api]\nsocket = "/run/other.sock"\n')
    assert defaults.socket_path(None) == defaults.SOCKET
    assert defaults.socket_path(other) == "/run/other.sock"
    (tmp_path / "installed.toml").write_text('[api]\nsocket = "/run/installed.sock"\n')
    assert defaults.socket_path(None) == "/run/installed.sock"


@pytest.mark.parametrize("text", [b"", b"api = 3", b"[api]\nsocket = 3", b"[api]\nsocket = ''", b"[api", b"# \xff"])
def test_a_file_without_a_usable_socket_leaves_the_default(tmp_path, text):
    file = tmp_path / "x.toml"
    file.write_bytes(text)
    assert defaults.socket_path(file) == defaults.SOCKET
    assert defaults.socket_path(tmp_path / "missing.toml") == defaults.SOCKET


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("nat64d.config.defaults", ["pydantic", "numba", "numpy", "aiohttp"]),
        ("nat64d.config", ["numba", "numpy", "aiohttp", "rich"]),
    ],
)
def test_importing_costs_little(module, unwanted):
    code = f"import sys, {module}; print(*[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
