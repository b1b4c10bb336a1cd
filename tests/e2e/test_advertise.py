"""[ra]: what a neighbour of the gateway hears, from the reload that brings it to the one that ends it."""

import json

import pytest

from tests.e2e.topology import POOL6, Daemon, Topology, hear, serve

pytestmark = pytest.mark.e2e


def test_a_host_hears_the_prefix_and_that_it_is_taken_back(net: Topology, nat64d: Daemon) -> None:
    host, before = serve(net.router6, "router_advertisements", "gateway"), nat64d.config
    nat64d.config = f'{before}\n[ra]\ninterface = ["router6"]\n'
    try:
        nat64d.command()
        assert nat64d.ask("reload").returncode == 0
        said = json.loads(hear(host))
    finally:
        nat64d.config = before
        nat64d.command()
        assert nat64d.ask("reload").returncode == 0
    source, *rest = said
    assert source.startswith("fe80::")
    assert rest == [0, POOL6, 1800]
    while (said := json.loads(hear(host))) == [source, 0, POOL6, 1800]:
        pass
    assert said == [source, 0, POOL6, 0]
    host.kill()
    assert "proto ra" not in net.router6.ip("-6", "route", "show")
