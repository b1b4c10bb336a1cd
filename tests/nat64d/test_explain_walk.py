"""`nat64d explain` follows the pipeline: what is new there is shown."""

import inspect

from scapy.layers.inet import ICMP, IP, TCP, UDP

from nat64d.explain.step import Step
from tests.nat64d.test_explain import SIIT, TEXT, steps_for, told
from translator import pipeline


def test_rfc7915_5_1_a_header_alone_is_shown():
    steps = steps_for("192.0.2.1 > 198.51.100.130 proto 47", config=SIIT)
    shown = told("translate", steps)
    assert "payload length 0, next header 47" in shown
    assert "\n60000000 00002f3f " in shown


def test_rfc7915_4_1_an_error_tells_its_own_addresses():
    quoted = IP(src="198.51.100.130", dst="192.0.2.1") / UDP(sport=1, dport=2) / b"data"
    error = IP(src="192.0.2.7", dst="198.51.100.130") / ICMP(type=3, code=1) / quoted
    steps = steps_for(bytes(error).hex(), config=SIIT)
    assert told("error addresses", steps) == "64:ff9b::192.0.2.7 > 2001:db8:5::2"


def test_rfc9293_3_7_1_a_lowered_mss_is_shown():
    clamped = SIIT + "[translation]\nclamp_mss = 1360\n"
    syn = IP(src="192.0.2.1", dst="198.51.100.130") / TCP(flags="S", options=[("MSS", 1460)])
    steps = steps_for(bytes(syn).hex(), config=clamped)
    assert told("MSS", steps) == "the MSS, 1460, is lowered to 1360 ([translation] clamp_mss)"
    assert "MSS" not in [step.name for step in steps_for(bytes(syn).hex(), config=SIIT)]


def test_a_step_that_is_new_in_the_pipeline_is_shown_by_itself(monkeypatch):
    def look_twice(p, view):
        """RFC 9999 section 1.2: something that translate does from today on."""
        return view.l4

    code = getattr(pipeline.translate_family, "py_func", pipeline.translate_family)
    text = (
        inspect.getsource(code)
        .partition("\n")[2]
        .replace("    packet = Packet(", "    look_twice(p, view)\n    packet = Packet(")
    )
    look_twice.__module__ = "translator.pipeline"
    monkeypatch.setattr(pipeline, "look_twice", look_twice, raising=False)
    exec(text, vars(pipeline), made := {})
    monkeypatch.setattr(pipeline, "translate_family", made["translate_family"])
    assert Step("look twice", "9999 1.2", ["104"]) in steps_for(TEXT)


def test_the_block_of_a_port_is_named():
    config = 'pool6 = "64:ff9b::/96"\nlimits = { port_block = 10, blocks = 1 }\n[[pool4]]\naddresses = "203.0.113.1"\n'
    steps = steps_for(TEXT, config=f'{config}ports = "2001-2010"\nsource = "2001:db8::/64"\ndeterministic = true\n')
    assert ", pool4 203.0.113.1 ports 2001-2010, block 2001-2010\n" in told("filter, update", steps)
