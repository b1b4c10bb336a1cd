"""`nat64d explain`: it ends as the pipeline does, says what every step found, reads packets as people write them."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from nat64d.config.errors import ConfigError
from nat64d.config.load import load, loads
from nat64d.config.models import Config
from nat64d.explain import command as explaining
from nat64d.explain import explainer as explainers
from nat64d.explain.explainer import Explainer, explained
from nat64d.explain.packet_text import packets
from nat64d.explain.step import Step
from nat64d.offline.engine import Engine
from tests import golden
from tests.architecture import ROOT
from tests.datagrams import every
from tests.nat64d.test_replay import history, read
from tests.scenarios import PCAPS, STANDARD
from translator.verdict import Verdict

CONFIG = PCAPS / "nat64d.toml"
TEXT = "2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53 hlim 64"
EAM = 'eam = [{ ipv4 = "198.51.100.128/27", ipv6 = "2001:db8:5::/123" }]\n'
SIIT = 'pool6 = "64:ff9b::/96"\n' + EAM
BOTH = EAM + STANDARD


# What steps there are: a name that is not among them is one of a call that nothing has words for.
KNOWN = {
    *(
        "parse",
        "MSS",
        "examine",
        "quoted packet",
        "hairpin",
        "incoming tuple",
        "static mapping",
        "filter, update",
        "addresses",
    ),
    *(
        "outgoing tuple",
        "fragment",
        "stored SYN",
        "error addresses",
        "plan",
        "before",
        "translate",
        "released",
        "answer",
        "verdict",
    ),
}


def agrees(config: Config, sent: list[tuple[float, bytes]]) -> set[Verdict]:
    """The verdicts of a history, of which every packet is explained; each ends as in the pipeline, tables included."""
    explainer, pipeline, verdicts = Explainer.of(Engine(config).gateway), Engine(config), set()
    for at, packet in sent:
        due = explainer.expire(at)
        steps, outcome = explainer.explain(packet, round(at * 1000))
        assert replace(outcome, due=due) == pipeline.send(packet, at)
        assert explainer.tables.events.tolist() == pipeline.tables.events.tolist()
        assert explainer.worker.events.tolist() == pipeline.worker.events.tolist()
        assert (steps[0].name, steps[-1].name) == ("parse", "verdict")
        assert all(step.name and step.found for step in steps)
        assert {step.name for step in steps} <= KNOWN
        assert [step.name for step in steps].count("translate") == len(outcome.packets)
        verdicts.add(outcome.verdict)
    return verdicts


def timed(sent: list[tuple[int, bytes]]) -> list[tuple[float, bytes]]:
    return [(1 + (time - sent[0][0]) // 1_000_000 / 1000, octets) for time, octets in sent]


@pytest.mark.parametrize("capture", golden.captures(), ids=lambda capture: capture.stem)
def test_every_packet_of_every_capture_ends_as_the_pipeline_says(capture):
    expected = golden.beside(capture, ".verdicts").read_text("utf-8").split()
    found = agrees(load(golden.config_of(capture)), timed(read(capture)))
    assert {verdict.name.lower() for verdict in found} == set(expected)


@pytest.mark.parametrize(
    "config",
    [STANDARD, BOTH, SIIT, SIIT + '[translation]\neam_hairpin = "simple"\n'],
    ids=["nat64", "eam beside sessions", "siit", "simple hairpins"],
)
def test_damaged_packets_end_as_the_pipeline_says(config):
    assert len(agrees(loads(config, "test"), timed(history(1)))) > 8


def steps_for(*texts: str, config: str = STANDARD) -> list[Step]:
    """The steps of the last of some packets, a millisecond apart."""
    given = [(k * 1_000_000, packets(text)[-1][1]) for k, text in enumerate(texts)]
    return explained(loads(config, "test"), given)[0]


def told(step: str, steps: list[Step]) -> str:
    """What all steps of that name found."""
    return "\n".join(line for one in steps if one.name == step for line in one.found)


def test_a_syn_that_nobody_expects_waits_and_decides_nothing_about_the_one_of_the_other_side():
    syn = "198.51.100.7 > 203.0.113.1 tcp 80 40000 flags S"
    text = "kept for 6 s, for the SYN of the IPv6 host; then its sender is told, port unreachable"
    assert told("stored SYN", steps_for(syn)) == text
    met = told("filter, update", steps_for(syn, "2001:db8:1::10 > 64:ff9b::198.51.100.7 tcp 5000 80 flags S"))
    assert "new session with 198.51.100.7:80, V6_INIT; expires in 240 s (TCP_OPENING)" in met


def test_a_session_whose_time_is_over_is_in_trans():
    texts = [
        "2001:db8:1::10 > 64:ff9b::198.51.100.7 tcp 5000 80 flags S",
        "198.51.100.7 > 203.0.113.1 tcp 80 40000 flags SA",
        "198.51.100.7 > 203.0.113.1 tcp 80 40000 flags R",
    ]
    given = [(time, packets(text)[0][1]) for time, text in zip((0, 1_000_000, 7440_001_000_000), texts, strict=True)]
    steps = explained(loads(STANDARD, "test"), given)[0]
    assert "198.51.100.7:80, TRANS; expires in 240 s" in told("filter, update", steps)


def test_a_first_packet_opens_a_bib_entry_and_a_session():
    steps = steps_for(TEXT)
    assert [(step.name, step.rfc) for step in steps] == [
        ("parse", "8200 3"),
        ("incoming tuple", "6146 3.4"),
        ("filter, update", "6146 3.5"),
        ("outgoing tuple", "6146 3.6"),
        ("plan", "7915 5.1"),
        ("before", ""),
        ("translate", "6146 3.7"),
        ("verdict", "7915"),
    ]
    assert told("parse", steps) == "IPv6 UDP, 48 octets, hop limit 64, not a fragment"
    assert told("incoming tuple", steps) == "[2001:db8::1]:5000 > [64:ff9b::192.0.2.1]:53 UDP"
    assert told("filter, update", steps) == (
        "new BIB entry [2001:db8::1]:5000 <> 203.0.113.1:40000, pool4 203.0.113.1 ports 40000-40000\n"
        "new session with 192.0.2.1:53; expires in 300 s (UDP_DEFAULT)"
    )
    assert told("outgoing tuple", steps) == "203.0.113.1:40000 > 192.0.2.1:53 UDP"
    assert "TTL 63, protocol 17" in told("translate", steps)
    assert "hop limit 64" in told("before", steps)
    assert told("verdict", steps) == f"translated: {Verdict.TRANSLATED.help}"


def test_what_passes_without_a_session_and_what_lives_shorter():
    small = STANDARD + "\n[limits]\nsessions = 16\n"
    inbound = steps_for(*(f"192.0.2.9 > 203.0.113.1 udp {port} 53" for port in range(1, 6)), config=small)
    text = "no session, and none is opened: those that count as opened from IPv4 have their share"
    assert told("filter, update", inbound).endswith(text)
    many = steps_for(*(f"2001:db8::1 > 64:ff9b::192.0.2.{k} udp 5000 53" for k in range(1, 10)), config=small)
    assert "expires in 266.25 s (UDP_DEFAULT, shortened as the table fills)" in told("filter, update", many)


def test_a_port_that_another_mapping_gave_up():
    few = STANDARD.replace("40000-40000", "40000-40009")
    flood = [f"2001:db8:{net:x}::{host:x} > 64:ff9b::192.0.2.1 udp 5000 53" for net in (1, 2) for host in range(1, 10)]
    steps = steps_for(*flood, "2001:db8:3::1 > 64:ff9b::192.0.2.1 udp 5000 53", config=few)
    assert "\nits port was that of a mapping which nobody had answered, and which ended\n" in told(
        "filter, update", steps
    )


V6_SYN = "2001:db8::1 > 64:ff9b::192.0.2.1 tcp 5000 80"
V4_SYN = "192.0.2.1 > 203.0.113.1 tcp 80 40000 flags SA"
QUOTE = "45000020000100004011000063636363cb0071019c400035000c0000"
LATER = "198.51.100.9 > 203.0.113.1 udp 53 40000 frag 1480 len 8 id 7"
SAID = {
    "tcp_changes_state": (
        (V6_SYN, V4_SYN),
        "filter, update",
        "V6_INIT -> ESTABLISHED; expires in 7440 s (TCP_EST) instead of 239.999 s",
    ),
    "tcp_keeps_lifetime": (
        (V6_SYN, V4_SYN, V6_SYN + " flags F"),
        "filter, update",
        "V6_FIN_RCV; expires in 7439.999 s",
    ),
    "tcp_same_state": (
        (V6_SYN, V6_SYN),
        "filter, update",
        ", V6_INIT; expires in 240 s (TCP_OPENING) instead of 239.999 s",
    ),
    "by_the_bib_alone": (
        (V6_SYN, "192.0.2.9 > 203.0.113.1 tcp 80 40000 flags A"),
        "filter, update",
        "no session, and none is opened",
    ),
    "static_entry": (("192.0.2.9 > 203.0.113.1 udp 1 53",), "filter, update", "static BIB entry [2001:db8:2::20]:5353"),
    "nobody": (("192.0.2.9 > 203.0.113.1 udp 1 54",), "filter, update", "no BIB entry\nno_bib_entry"),
    "the_answer": (
        ("192.0.2.9 > 203.0.113.1 udp 1 54",),
        "answer",
        "192.0.2.254 > 192.0.2.9, 56 octets, ICMP type 3, ",
    ),
    "hop_limit": ((TEXT + " hlim 1",), "examine", "hop_limit_expired"),
    "not_ours": (("2001:db8::1 > 2001:db8::2 udp 1 2",), "addresses", "not_our_prefix"),
    "first_fragment": ((TEXT + " frag 0+ len 8",), "fragment", "remembered for 10 s"),
    "later_fragment": (
        (TEXT + " frag 0+ len 8 id 7", TEXT + " frag 16 len 8 id 7"),
        "fragment",
        "as its first fragment: 203.0.113.1 > 192.0.2.1 UDP",
    ),
    "kept_fragment": (
        (LATER.replace("1480", "8"), LATER),
        "fragment",
        "kept until its first fragment comes, for 9.999 s; of its datagram there are 2",
    ),
    "fragment_of_nobody": ((LATER.replace("203.0.113.1", "203.0.113.2"),), "fragment", "fragment_unknown"),
    "released_fragment": (
        (TEXT + " frag 16 len 8 id 7", TEXT + " frag 0+ len 8 id 7"),
        "released",
        "kept until this one came: IPv6 UDP, 56 octets, hop limit 64, fragment from octet 16 on, the last: translated",
    ),
    "fragmented_ping": (
        (TEXT.replace("udp 5000 53", "icmp echo 9 frag 0+ len 16 id 7"),),
        "fragment",
        "kept until its datagram is whole, for 10 s; of its datagram there are 1",
    ),
    "atomic_fragment": ((TEXT + " frag 0",), "parse", "an atomic fragment"),
    "hairpin": (
        ("2001:db8:2::20 > 64:ff9b::203.0.113.1 udp 5353 53",),
        "hairpin",
        "203.0.113.1 is an address of this gateway: looked up again, as if it came from IPv4",
    ),
    "ping": (
        ("2001:db8::1 > 64:ff9b::192.0.2.1 icmp echo 9",),
        "incoming tuple",
        "64:ff9b::192.0.2.1 ICMP identifier 9",
    ),
    "cut": (
        (TEXT, "192.0.2.1 > 203.0.113.1 udp 53 40000 len 1300"),
        "plan",
        "no DF and above lowest_ipv6_mtu 1280: fragments of 1232 octets",
    ),
    "df": ((TEXT + " len 1400",), "plan", "DF; mtu4 auto: the kernel applies the MTU of the route"),
    "in_one_piece": ((TEXT, "192.0.2.1 > 203.0.113.1 udp 53 40000"), "plan", "in one piece; mtu6 auto"),
    "undue": (("224.0.0.1 > 203.0.113.1 udp 1 2 ttl 1",), "examine", "not_unicast"),
    "undue_answer": ((TEXT + " hlim 1 frag 8 len 8",), "answer", "none: no error may be sent about such a packet"),
    "not_ip": (("00",), "parse", "not_ip, 1 octets"),
}


@pytest.mark.parametrize("name", SAID)
def test_steps_say_what_they_found(name):
    texts, step, sentence = SAID[name]
    assert sentence in told(step, steps_for(*texts))


def test_an_error_tells_what_it_quotes_and_what_it_becomes():
    quoted = IP(src="203.0.113.1", dst="192.0.2.1", ttl=60) / UDP(sport=40000, dport=53)
    error = bytes(IP(src="192.0.2.33", dst="203.0.113.1") / ICMP(type=3, code=4, nexthopmtu=1300) / quoted)
    steps = steps_for(TEXT, error.hex())
    assert told("quoted packet", steps) == "IPv4 UDP, 28 octets, TTL 60, not a fragment"
    assert told("filter, update", steps).endswith("session with 192.0.2.1:53; expires in 299.999 s")
    assert told("plan", steps) == "type 2, code 0, rest 0x00000528"
    without = bytes(IP(src="192.0.2.33", dst="203.0.113.1") / ICMP(type=3, code=14) / quoted)
    assert told("plan", steps_for(TEXT, without.hex())) == "icmp_type"
    labelled = bytes(quoted).ljust(128, b"\0") + bytes.fromhex("2000000000080101deadbeef")
    error = bytes(IP(src="192.0.2.33", dst="203.0.113.1") / ICMP(type=11, length=32) / Raw(labelled))
    assert told("plan", steps_for(TEXT, error.hex())).endswith("\nextension of 12 octets behind 16 words (RFC 4884)")


@pytest.mark.parametrize(
    ("config", "text", "sentence"),
    [
        (BOTH, "192.0.2.1 > 198.51.100.130 udp 1 2", "[[eam]] 198.51.100.128/27 <> 2001:db8:5::/123"),
        (BOTH, TEXT, "no [[eam]] for the host behind us: the session tables"),
        (
            SIIT,
            "64:ff9b::192.0.2.9 > 64:ff9b::192.0.2.1 udp 1 2",
            "no [[eam]] for the host behind us: pool6 (RFC 6052)",
        ),
    ],
)
def test_static_mappings_are_told(config, text, sentence):
    assert told("static mapping", steps_for(text, config=config)) == sentence


def test_a_datagram_that_was_put_together_is_told_step_by_step():
    ping = IPv6(src="2001:db8::1", dst="64:ff9b::192.0.2.1") / ICMPv6EchoRequest(id=9, data=bytes(40))
    steps = steps_for(*(piece.hex() for piece in every(ping, 16)[::-1]))
    assert told("fragment", steps) == "the last that was missing: 3 fragments are one packet of 96 octets"
    assert [step.name for step in steps].count("parse") == 2
    assert "an atomic fragment" in told("parse", steps)
    assert "total length 68" in told("translate", steps)


def test_the_limit_of_errors_is_told():
    config = STANDARD + "\n[limits]\nicmp_errors_per_second = 1\n"
    late = TEXT + " hlim 1"
    assert told("answer", steps_for(late, late, config=config)) == "none: [limits] icmp_errors_per_second is reached"


def test_a_packet_too_big_is_told():
    config = STANDARD + "\n[translation]\nmtu4 = 1400\n"
    assert told("plan", steps_for(TEXT + " len 1400", config=config)) == "too_big: mtu4 1400; the sender is told 1420"


@pytest.mark.parametrize(
    ("pool6", "address"),
    [
        ("2001:db8:6464::/96", "[2001:db8:6464::192.0.2.1]"),
        ("2001:db8:1:2:3:4::/96", "[2001:db8:1:2:3:4:c000:201]"),
    ],
)
def test_an_embedded_address_is_shown_where_that_is_an_address(pool6, address):
    text = f"2001:db8::1 > {address[1:-1]} udp 5000 53"
    steps = steps_for(text, config=STANDARD.replace("64:ff9b::/96", pool6))
    assert told("incoming tuple", steps) == f"[2001:db8::1]:5000 > {address}:53 UDP"


# The command


def test_a_packet_of_a_capture_comes_after_those_before_it(capsys):
    assert explaining.main(f"{PCAPS}/udp_there_and_back.pcap:2", CONFIG, False) == 0
    out = capsys.readouterr().out
    assert "\nfilter, update  6146 3.5  BIB entry [2001:db8:1::10]:5000 <> 203.0.113.1:40000" in out
    assert out.endswith("translated: Translated to the other IP version.\n")


def test_json_is_an_object_a_step_and_one_for_the_end(capsys):
    assert explaining.main(TEXT, CONFIG, True) == 0
    *steps, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert [step["step"] for step in steps][:2] == ["parse", "incoming tuple"]
    assert steps[1] == {
        "step": "incoming tuple",
        "rfc": "6146 3.4",
        "found": ["[2001:db8::1]:5000 > [64:ff9b::192.0.2.1]:53 UDP"],
    }
    assert (end["verdict"], end["direction"], end["answered"]) == ("translated", "6to4", False)
    assert end["packet"] == packets(TEXT)[0][1].hex()
    assert bytes.fromhex(end["outputs"][0])[:1] == b"\x45"


def test_json_has_the_answer(capsys):
    assert explaining.main(TEXT + " hlim 1", CONFIG, True) == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["verdict"], end["answered"], len(end["outputs"])) == ("hop_limit_expired", True, 1)


def test_a_prefix_that_only_the_daemon_can_discover_is_refused(tmp_path):
    (tmp_path / "clat.toml").write_text('[clat]\nipv6 = "2001:db8:1::464"\n', "utf-8")
    expected = '[clat] plat = "discover": expected a prefix, as this command does not ask the network for it'
    with pytest.raises(ConfigError, match=re.escape(expected)):
        explaining.main(TEXT, tmp_path / "clat.toml", False)


def test_the_command_answers_without_compiling(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-m", "nat64d", "explain", TEXT, "-c", CONFIG],
        cwd=ROOT,
        env=environment | {"NAT64D_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^outgoing tuple +6146 3.6 +203\.0\.113\.1:40000 > 192\.0\.2\.1:53 UDP$", done.stdout, re.MULTILINE
    )
    assert list(tmp_path.rglob("*.nbi")) == []


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    command = (
        f"{sys.executable} -m nat64d explain '{TEXT}' -c {CONFIG} 2>{tmp_path}/err | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert (done.stdout, Path(tmp_path / "err").read_text("utf-8")) == ("0\n", "")


def test_many_packets_before_it_are_worth_the_compiler(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba")
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(
        explainers, "explained", lambda *_: ([Step("verdict", "", ["x"])], Engine(load(None)).send(b"", 1))
    )
    monkeypatch.setattr(explaining, "UNCOMPILED", 0)
    assert explaining.main(TEXT, CONFIG, False) == 0
    assert "NUMBA_DISABLE_JIT" not in os.environ
