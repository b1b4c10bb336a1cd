"""StaticMappings and Translators: rows of [[eam]] and [[pool4]] in the daemon, and what their status says."""

import json
from pathlib import Path
from typing import Any

import pytest

from nat64d.config.sources import rows_in
from nat64d.kubernetes.leases import Applied, seen
from nat64d.kubernetes.rows import Rules
from nat64d.kubernetes.wishes import WHOLE
from tests.kubernetes.controlled import Controlled, Gateway, addresses, condition, events, prepared, until
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import Book, Mirrored
from tests.kubernetes.objects import DRAINING, NOT_READY, OUR_KINDS, STATIC, TRANSLATOR, end, mapping, service, slice_

A, B = ("[2001:db8:1::1]:8080", "[2001:db8:1::2]:8080")
LATER = "2099-01-01T00:00:00Z"


def applied(mirror: Mirrored) -> Applied:
    return mirror.mirror.applied(mirror.followers)


def prefixes(daemon: Book) -> dict[str, str]:
    """Of clients, by Service."""
    return {name.split("/")[1]: str(row.client_prefix) for name, row in daemon.rows.items()}


def test_a_mapping_of_a_pod_and_of_a_prefix_comes_changes_and_goes(fake, daemon, mirror):
    fake.set(STATIC, mapping("pod", "198.51.100.7/32", "2001:db8:1::7/128"))
    fake.set(STATIC, mapping("many", "203.0.113.0/24", "2001:db8:2::/120"))
    until(lambda: daemon.mappings == {"198.51.100.7/32": "2001:db8:1::7/128", "203.0.113.0/24": "2001:db8:2::/120"})
    assert daemon.ends() == {A: 1, B: 1}
    fake.set(STATIC, mapping("pod", "198.51.100.7/32", "2001:db8:1::8/128"))
    fake.set(STATIC, mapping("many", "203.0.113.128/25", "2001:db8:2::/120"))
    until(lambda: daemon.mappings == {"198.51.100.7/32": "2001:db8:1::8/128", "203.0.113.128/25": "2001:db8:2::/120"})
    daemon.restart(forgets=True)
    until(lambda: len(daemon.mappings) == 2 and daemon.ends() == {A: 1, B: 1})
    fake.delete(STATIC, "many")
    fake.delete(STATIC, "pod")
    until(lambda: daemon.mappings == {})
    assert daemon.ends() == {A: 1, B: 1}


def test_a_mapping_of_a_service_follows_its_one_endpoint(fake, daemon, mirror):
    fake.set(SLICES, slice_("db-1", "2001:db8:1::5", of="db"))
    fake.set(STATIC, mapping("db", "198.51.100.7/32", service="db"))
    until(lambda: daemon.mappings == {"198.51.100.7/32": "2001:db8:1::5/128"})
    fake.set(SLICES, slice_("db-1", end("2001:db8:1::5", DRAINING), "2001:db8:1::6", of="db"))
    until(lambda: daemon.mappings == {"198.51.100.7/32": "2001:db8:1::6/128"})
    fake.set(SLICES, slice_("db-1", "2001:db8:1::5", "2001:db8:1::6", of="db"))
    until(lambda: daemon.mappings == {})


def test_what_is_refused_is_said_by_object_and_what_is_left_counts_as_applied(fake, daemon, mirror):
    until(lambda: applied(mirror).services)
    fake.set(SERVICES, service("thief", "192.0.2.2"))
    fake.set(STATIC, mapping("inside", "198.51.100.7/32", "64:ff9b:1::7/128"))
    fake.set(STATIC, mapping("moved", "198.51.100.8/32", "2001:db8:1::8/128"))
    until(lambda: len(applied(mirror).refused) == 2 and daemon.mappings)
    said = applied(mirror)
    (thief, why), inside = said.refused
    assert thief == "Service default/thief"
    assert why.startswith(
        'ipv4 = "192.0.2.2:80": expected a port that no earlier [[service]] has; default/web/http has'
    )
    what = "StaticMapping inside"
    assert inside == (what, 'ipv6 = "64:ff9b:1::7/128": expected IPv6 hosts outside pool6, 64:ff9b:1::/96')
    assert min(int(said.services), int(said.mappings)) > 0
    assert seen(WHOLE.decode(json.dumps({"metadata": {"annotations": said.notes()}}))).refused == said.refused
    fake.set(STATIC, mapping("moved", "198.51.100.8/32", "64:ff9b:1::8/128"))
    until(lambda: daemon.mappings == {})
    fake.delete(SERVICES, "web")
    until(lambda: [what for what, _ in applied(mirror).refused] == ["StaticMapping inside", "StaticMapping moved"])


@pytest.mark.parametrize("may_read", [True, False], ids=["there_is_no_such_kind", "nobody_allows_it"])
def test_where_there_are_no_mappings_to_read_services_are_served(fake, daemon, tmp_path, may_read):
    """What cannot be read stays as the daemon has it; where there is no such kind there are none."""
    row = {"name": "default/web/http", "ipv4": "192.0.2.2:80", "client_prefix": "2001:db8:c::/96"}
    had = {"eam": [{"ipv4": "192.0.2.99", "ipv6": "2001:db8::99"}], "service": [row]}
    daemon.sources = daemon.sources._replace(rows={"kubernetes": rows_in(had, "kubernetes")})
    fake.set(SERVICES, service())
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
    mirror = Mirrored(fake, daemon, tmp_path / "kubeconfig", kinds=not may_read)
    if not may_read:
        rule = {"apiGroups": ["", "discovery.k8s.io"], "resources": ["services", "endpointslices"]}
        fake.faults.tokens = {"": [{**rule, "verbs": ["list", "watch"]}]}
    with mirror:
        until(lambda: daemon.ends() == {A: 1} and fake.watching == 2)
        until(lambda: daemon.mappings == ({} if may_read else {"192.0.2.99/32": "2001:db8::99/128"}))
        until(lambda: prefixes(daemon) == {"web": "" if may_read else "2001:db8:c::/96"})
        fake.faults.tokens = {}
        fake.kinds += OUR_KINDS
        fake.set(STATIC, mapping("pod", "198.51.100.7/32", "2001:db8:1::7/128"))
        until(lambda: daemon.mappings == {"198.51.100.7/32": "2001:db8:1::7/128"})
        until(lambda: prefixes(daemon) == {"web": ""})


def test_a_mapping_says_whether_all_gateways_have_it_or_why_not(fake: Fake, tmp_path: Path) -> None:
    asker = prepared(fake, {"blocks": ["198.51.100.7-198.51.100.9"]})
    fake.set(SLICES, slice_("db-1", "2001:db8:1::5", end("2001:db8:1::6", NOT_READY), of="db"))
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", "2001:db8:1::2"))
    fake.set(STATIC, mapping("pod", "198.51.100.7/32", "2001:db8:1::7/128"))
    later = mapping("twice", "198.51.100.7/32", "2001:db8:1::8/128")
    fake.set(STATIC, {**later, "metadata": {"name": "twice", "creationTimestamp": LATER}})
    fake.set(STATIC, mapping("odd", "198.51.100.7/24", "2001:db8:2::/120"))
    for number, name in enumerate(("db", "web", "none")):
        fake.set(STATIC, mapping(name, f"198.51.100.{number}/32", service=name))
    said = {
        "twice": ("AddressInUse", "StaticMapping pod has 198.51.100.7/32"),
        "odd": ("InvalidPrefix", "ipv4: 198.51.100.7/24 is no prefix without host bits, as 192.0.2.0/24"),
        "web": ("SeveralEndpoints", "2 endpoints of Service default/web are ready, and one is expected"),
        "none": ("NoEndpoints", "no IPv6 endpoint of Service default/none is ready"),
        "pod": ("NoGateway", "no gateway renews its Lease"),
        "db": ("NoGateway", "no gateway renews its Lease"),
    }
    wanted = {name: ("False", *why) for name, why in said.items()}

    def found() -> dict[str, tuple[str, str, str]]:
        return {name: condition(fake, name, STATIC) for name in said}

    fake.set(SERVICES, service("new", ""))
    with Controlled(fake, tmp_path / "one"):
        until(lambda: found() == wanted, found)
        until(lambda: addresses(fake, "new") == ["198.51.100.8"])
        (event,) = until(lambda: events(fake, "odd"))
        about = event["reason"], event["type"], event["regarding"]["kind"]
        assert about == ("InvalidPrefix", "Warning", "StaticMapping")
        with Gateway(fake, tmp_path / "g1") as gateway:
            until(lambda: condition(fake, "db", STATIC)[1] == "Pending")
            gateway.apply(fake.store.version)
            until(lambda: condition(fake, "db", STATIC) == ("True", "Programmed", "applied by g1"))
            asker.merge("/apis/nat64d.io/v1alpha1/staticmappings/db", {"spec": {"ipv4": "198.51.100.9/32"}})
            until(lambda: condition(fake, "db", STATIC)[1] == "Pending")


def translator(*pool4: tuple[str, str], **more: Any) -> dict[str, Any]:
    rows = [{"gateway": gateway, "addresses": [block]} for gateway, block in pool4]
    return {"metadata": {"name": "all"}, "spec": {"pool6": "64:ff9b:1:0:0::/96", "pool4": rows, **more}}


def test_a_gateway_gets_its_own_addresses_of_a_translator(fake: Fake, daemon: Book, tmp_path: Path) -> None:
    fake.set(TRANSLATOR, translator(("g1", "192.0.2.16/30"), ("g2", "192.0.2.20/30"), ("g1", "192.0.2.30-192.0.2.31")))
    fake.set(SERVICES, service())
    with Mirrored(fake, daemon, tmp_path / "kubeconfig", Rules(gateway="g1")) as mirror:
        until(lambda: daemon.pools == ["192.0.2.16/30", "192.0.2.30-192.0.2.31"])
        fake.set(TRANSLATOR, translator(("g1", "192.0.2.2"), ("g1", "2001:db8::/64")))
        until(lambda: [what for what, _ in applied(mirror).refused] == ["Translator all"])
        assert daemon.pools == ["192.0.2.2"]
        assert int(applied(mirror).translators) > 0
        assert applied(mirror).pool6 == "64:ff9b:1::/96"
        fake.delete(TRANSLATOR, "all")
        until(lambda: daemon.pools == [] and applied(mirror).refused == ())
        assert [*daemon.rows] == ["default/web/http"]


def younger(name: str = "younger", **more: Any) -> dict[str, Any]:
    return {**translator(**more), "metadata": {"name": name, "creationTimestamp": LATER}}


def test_endpoints_see_clients_under_the_prefix_of_a_translator(fake: Fake, daemon: Book, mirror: Mirrored) -> None:
    """The oldest that has one; a Service may have its own. Without it that of the daemon's file holds."""

    fake.set(SERVICES, service("own", "192.0.2.3", annotations={"nat64d.io/client-prefix": "2001:db8:9::/96"}))
    until(lambda: prefixes(daemon) == {"web": "", "own": "2001:db8:9::/96"})
    fake.set(TRANSLATOR, younger("wrong", clientPrefix="2001:db8:d::/97"))
    fake.set(TRANSLATOR, younger(clientPrefix="2001:db8:d::/96"))
    until(lambda: prefixes(daemon) == {"web": "2001:db8:d::/96", "own": "2001:db8:9::/96"})
    fake.set(TRANSLATOR, translator(clientPrefix="2001:db8:c:0::/96"))
    fake.set(SERVICES, service("more", "192.0.2.4"))
    until(lambda: prefixes(daemon) == {"web": "2001:db8:c::/96", "own": "2001:db8:9::/96", "more": "2001:db8:c::/96"})
    until(lambda: applied(mirror).refused == ())
    for name in ("all", "younger", "wrong"):
        fake.delete(TRANSLATOR, name)
    until(lambda: prefixes(daemon) == {"web": "", "own": "2001:db8:9::/96", "more": ""})
    assert daemon.ends() == {A: 1, B: 1}


def test_a_translator_says_what_of_it_gateways_have(fake: Fake, tmp_path: Path) -> None:
    prepared(fake)
    fake.set(TRANSLATOR, translator(("g1", "192.0.2.16/30"), seed="a", clientPrefix="2001:db8:c::/96"))
    fake.set(TRANSLATOR, younger(clientPrefix="2001:db8:d::/96"))
    fake.set(TRANSLATOR, younger("wrong", clientPrefix="2001:db8:d::/97"))
    fake.set(TRANSLATOR, younger("open", allowedSources=["2001:db8::/32"]))

    def found(name: str = "all") -> tuple[str, str, str]:
        return condition(fake, name, TRANSLATOR)

    with Controlled(fake, tmp_path / "one"), Gateway(fake, tmp_path / "g1") as gateway:
        until(lambda: found()[1] == "Pending")
        gateway.apply(fake.store.version)
        sentence = "seed is not taken: gateways have [services] seed from their files; else applied by g1"
        until(lambda: found() == ("True", "PartlyProgrammed", sentence), found)
        sentence = "clientPrefix is that of Translator all, 2001:db8:c::/96; else applied by g1"
        until(lambda: found("younger") == ("True", "PartlyProgrammed", sentence), lambda: found("younger"))
        until(lambda: found("wrong")[:2] == ("False", "InvalidPrefix"), lambda: found("wrong"))
        until(lambda: found("open")[:2] == ("False", "NotEnforced"), lambda: found("open"))
        assert "everybody may send through pool6" in found("open")[2]
        assert until(lambda: [one for one in events(fake, "open") if one["reason"] == "NotEnforced"])
        other = translator(("g1", "192.0.2.16/30"))
        fake.set(TRANSLATOR, {**other, "spec": {**other["spec"], "pool6": "2001:db8:64::/96"}})
        gateway.apply(fake.store.version)
        sentence = "in the configuration file of g1 pool6 is not 2001:db8:64::/96"
        until(lambda: found() == ("False", "OtherPool6", sentence), found)
        fake.set(TRANSLATOR, other)
        gateway.apply(fake.store.version)
        until(lambda: found() == ("True", "Programmed", "applied by g1"), found)
