"""The configurations for other programs: their content, the reported losses, and what the programs' checkers say."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from nat64d.config.models import Config
from nat64d.dns64 import export
from nat64d.dns64.command import intent_of
from nat64d.dns64.export import PROGRAMS, Export
from tests.dns64.side import programs

PLAIN = """
pool6 = "2001:db8:64::/96"
[dns64]
upstream = ["2001:db8::53", "[2001:db8::54]:5353"]
clients = ["fd00::/8"]
exclude = []
"""
FULL = """
pool6 = "64:ff9b::/96"
eam = [{ ipv4 = "198.51.100.10", ipv6 = "2001:db8:1::10" }]
[dns64]
upstream = ["2001:db8::53", "192.0.2.53", "tls://[2001:db8::54]:853#dns.example", "tls://192.0.2.54:8853#dns2.example"]
clients = ["fd00::/8"]
exclude = ["::ffff:0:0/96", "2001:db8:bad::/48"]
dns46 = true
exclude_names = ["v6only.example"]
force_names = ["broken.example"]
ranges = [{ ipv4 = "10.1.0.0/16" }, { ipv4 = "10.0.0.0/8", pool6 = "64:ff9b:1::/96" }]
policy = [
    { clients = ["fd00:1::/32"], synthesise = false, filter_a = true },
    { clients = ["fd00:2::/32"], pool6 = "2001:db8:64::/96", exclude = [] },
]
"""
INTENTS = {"plain": PLAIN, "full": FULL}


def said(program: str, intent: str) -> Export:
    return PROGRAMS[program](intent_of(Config.model_validate(tomllib.loads(INTENTS[intent]))))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("intent", "prefix"), [("plain", "2001:db8:64::/96"), ("full", "64:ff9b::/96")])
def test_each_program_is_told_the_prefix(program: str, intent: str, prefix: str) -> None:
    assert prefix in said(program, intent).text


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("unbound", ["  forward-addr: 2001:db8::53\n", "  forward-addr: 2001:db8::54@5353\n"]),
        ("bind", ["forwarders { 2001:db8::53; 2001:db8::54 port 5353; };"]),
        ("coredns", ["forward . [2001:db8::53]:53 [2001:db8::54]:5353\n"]),
    ],
)
def test_the_servers_are_written_in_the_syntax_of_the_program(program: str, lines: list[str]) -> None:
    text = said(program, "plain").text
    assert [line for line in lines if line not in text] == []


@pytest.mark.parametrize(
    ("listen", "unbound", "bind", "coredns"),
    [
        (["[::]:53"], ["::@53"], ["listen-on { none; };", "listen-on-v6 port 53 { any; };"], ".:53 {\n    acl"),
        (
            ["192.0.2.1:53", "[2001:db8::1]:5353"],
            ["192.0.2.1@53", "2001:db8::1@5353"],
            ["listen-on port 53 { 192.0.2.1; };", "listen-on-v6 port 5353 { 2001:db8::1; };"],
            ".:53 .:5353 {\n    bind 192.0.2.1 2001:db8::1\n",
        ),
    ],
)
def test_it_listens_where_nat64d_does(listen: list[str], unbound: list[str], bind: list[str], coredns: str) -> None:
    config = {"pool6": "64:ff9b::/96", "dns64": {"upstream": ["2001:db8::53"], "listen": listen}}
    intent = intent_of(Config.model_validate(config))
    text = {program: export(intent).text for program, export in PROGRAMS.items()}
    assert re.findall(r"interface: (\S+)", text["unbound"]) == unbound
    assert re.findall(r"(listen-on.*)", text["bind"]) == bind
    assert coredns in text["coredns"]


@pytest.mark.parametrize(
    ("program", "lines", "loss"),
    [
        (
            "unbound",
            ["forward-tls-upstream: yes", "2001:db8::54@853#dns.example", "192.0.2.54@8853#dns2"],
            "without TLS",
        ),
        ("bind", ["forwarders { 2001:db8::53; 192.0.2.53; };"], export.NO_TLS),
        ("coredns", ["tls://[2001:db8::54]:853 {", "tls_servername dns.example"], "one TLS name, dns.example"),
    ],
)
def test_tls_servers_are_exported_or_reported_as_lost(program: str, lines: list[str], loss: str) -> None:
    text, losses = said(program, "full")
    assert [line for line in lines if line not in text] == []
    assert any(loss in sentence for sentence in losses)


def test_bind_has_a_view_for_each_policy_and_a_statement_for_each_prefix() -> None:
    options, off, other, base = said("bind", "full").text.split("\nview ")
    assert "dns64" not in options
    assert "dns64" not in off
    assert "match-clients { fd00:1::/32; };" in off
    assert "match-clients { any; };" in base
    assert re.findall(r"dns64 (\S+) ", other) == ["64:ff9b:1::/96", "2001:db8:64::/96"]
    assert re.findall(r"dns64 (\S+) ", base) == ["64:ff9b:1::/96", "64:ff9b::/96"]
    assert "mapped { !10.1.0.0/16; 10.0.0.0/8; " in base
    assert other.count("exclude { none; };") == 2
    assert base.count("exclude { ::ffff:0:0/96; 2001:db8:bad::/48; };") == 2


def test_coredns_has_blocks_for_names_of_their_own() -> None:
    blocks = said("coredns", "full").text.split("\n}\n")
    spared, forced, rest = blocks[:3]
    assert spared.startswith("v6only.example.:53 {")
    assert "dns64" not in spared
    assert forced.startswith("broken.example.:53 {")
    assert "translate_all" in forced
    assert rest.startswith(".:53 {")


EVERY = [export.NO_FILTER, export.NO_DNS46, export.NO_MAPS]
LOST = {
    "unbound": [*EVERY, export.PRIVATE, export.ONE_PREFIX, export.ONE_POLICY, export.NO_SPARING],
    "bind": [*EVERY, export.NO_SPARING, export.NO_FORCING, export.NO_TLS],
    "coredns": [*EVERY, export.NO_EXCLUDE, export.PRIVATE, export.ONE_PREFIX, export.ONE_POLICY],
    "radvd": [export.ONE_PREFIX, export.ONE_POLICY],
    "networkd": [export.ONE_PREFIX, export.ONE_POLICY],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_cannot_express_is_reported_if_it_was_configured(program: str) -> None:
    assert [loss for loss in LOST[program] if loss not in said(program, "full").losses] == []
    needless = [loss for loss in LOST[program] if loss in said(program, "plain").losses and loss != export.PRIVATE]
    assert needless == []


@pytest.mark.parametrize("pool6", ["64:ff9b::/96", "2001:db8:64::/96"])
def test_the_well_known_prefix_carries_no_private_address(pool6: str) -> None:
    config = {"pool6": pool6, "dns64": {"upstream": ["2001:db8::53"]}}
    refused = [str(row.ipv4) for row in intent_of(Config.model_validate(config)).base.ranges if row.pool6 is None]
    assert ("10.0.0.0/8" in refused) is (pool6 == "64:ff9b::/96")


CHECKERS = {"unbound": ("unbound-checkconf",), "bind": ("named-checkconf",), "radvd": ("radvd", "-c", "-C")}


@pytest.mark.e2e
@pytest.mark.parametrize("program", CHECKERS)
@pytest.mark.parametrize("intent", INTENTS)
def test_the_text_passes_the_checker_of_its_program(program: str, intent: str, tmp_path: Path) -> None:
    text = said(program, intent).text
    if program == "radvd" and radvd_version() < (2, 20):  # as the export says; the rest it has to take
        text = re.sub(r"    nat64prefix.*?};\n", "", text, flags=re.DOTALL)
    assert checked(program, text, tmp_path) == ""
    assert checked(program, text + "nonsense\n", tmp_path) != ""


def checked(program: str, text: str, directory: Path) -> str:
    """The output of the program's checker, empty if it accepts the text. Skips if it is not installed."""
    name, *options = CHECKERS[program]
    path = programs.path_of(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    (directory / program).write_text(text, "utf-8")
    command = [path, *options, str(directory / program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr or "no"


def radvd_version() -> tuple[int, ...]:
    done = subprocess.run([programs.path_of("radvd") or "true", "-v"], capture_output=True, text=True, check=False)
    return tuple(map(int, re.findall(r"\d+", (done.stdout + done.stderr).partition("\n")[0])))
