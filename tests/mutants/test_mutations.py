"""The mutants are those that a reader would think of, and the named tests those that a matrix names."""

from types import FunctionType, SimpleNamespace

from nat64d.dns64 import resolver
from nat64d.dns64.message import wire
from nat64d.dns64.rules import policy
from tests.mutants.hunt import named
from tests.mutants.mutations import Mutant, mutants
from translator.packet import tuples
from translator.packet.fields import ICMP, TCP, UDP


def of(name: str, everything: bool = False) -> dict[str, Mutant]:
    """The mutants of a function of tuples.py, by what they put in."""
    return {mutant.now: mutant for mutant in mutants(tuples, everything) if mutant.function.__name__ == name}


def test_each_part_of_a_condition_is_left_out_and_the_whole_is_forced():
    parts = {"t.protocol != TCP and t.protocol != UDP", "t.protocol != TCP and t.protocol != ICMP"}
    assert of("is_other").keys() == parts | {"t.protocol != UDP and t.protocol != ICMP"}
    assert of("as_from_ipv4").keys() == {"True", "False"}
    assert {"t.src.port & t.dst.port", "ICMP + 1"} <= of("as_from_ipv4", everything=True).keys()


def test_a_mutant_is_code_for_its_function():
    mutant = of("is_other")["t.protocol != TCP and t.protocol != UDP"]
    changed = FunctionType(mutant.code, mutant.function.__globals__)
    told = {protocol: changed(SimpleNamespace(protocol=protocol)) for protocol in (TCP, UDP, ICMP, 47)}
    assert told == {TCP: False, UDP: False, ICMP: True, 47: True}


def test_methods_have_mutants_too_properties_and_coroutines_among_them():
    found = {mutant.function.__qualname__ for module in (wire, policy, resolver) for mutant in mutants(module, True)}
    assert {"_Reader._pointed", "Message.rcode", "Policy.makes", "Resolver.resolve"} <= found


def test_named_is_what_a_matrix_names():
    ids = ["test_rfc6146_3_4_tuple[udp_from_ipv6]", "test_no_matrix_names_this"]
    items = [SimpleNamespace(nodeid=f"tests/translator/test_rfc6146_3_4_tuples.py::{id_}") for id_ in ids]
    assert named(items) == items[:1]
