"""RFC 7915 sections 4.6 and 5.6: where a more specific route leads on without translation, a packet takes that one.

    host6 ── 2001:db8:a::/64 ── gateway ── 203.0.113.0/24 ── host4
       ::10                        │                          .10
                                native, with both families: 64:ff9b::203.0.113.77 and 192.0.2.77

192.0.2.64/28 and all of 64:ff9b::/96 are translated, but for these two addresses.
"""

from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, embed

pytestmark = pytest.mark.e2e

HOST6, HOST4, MAPPED4 = "2001:db8:a::10", "203.0.113.10", "192.0.2.65"
NATIVE6, NATIVE4 = embed("203.0.113.77"), "192.0.2.77"
CONFIG = """
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[eam]]
ipv4 = "192.0.2.64/28"
ipv6 = "2001:db8:a::/124"

[[eam]]
ipv4 = "192.0.2.65"
ipv6 = "2001:db8:a::10"

[tun]
ipv4 = "192.0.2.254"
ipv6 = "2001:db8:64::1"
"""


@pytest.fixture
def network(namespaces: None) -> Iterator[dict[str, Namespace]]:
    """The four hosts drawn above."""
    with Lab("specific") as lab:
        host6, gateway, host4, native = (lab.namespace(name) for name in ("host6", "gateway", "host4", "native"))
        lab.link(host6, [f"{HOST6}/64"], gateway, ["2001:db8:a::1/64"])
        lab.link(gateway, ["203.0.113.1/24"], host4, [f"{HOST4}/24"])
        lab.link(gateway, ["2001:db8:c::1/64", "198.51.100.1/24"], native, ["2001:db8:c::2/64", "198.51.100.2/24"])
        for address in (f"{NATIVE6}/128", f"{NATIVE4}/32"):
            native.add_address(address, "lo")
        gateway.route(f"{NATIVE6}/128", "2001:db8:c::2")
        gateway.route(f"{NATIVE4}/32", "198.51.100.2")
        for host, router in ((host6, "2001:db8:a::1"), (host4, "203.0.113.1"), (native, "2001:db8:c::1")):
            host.route("default", router)
        native.route("default", "198.51.100.1")
        yield {host.name: host for host in lab.namespaces}


def test_rfc7915_4_6_and_5_6_a_more_specific_route_wins(network, tmp_path):
    daemon = Daemon(network["gateway"], tmp_path, CONFIG).start()

    def count() -> int:
        return sum(row["packets"] for row in daemon.rows("counters") if row.get("verdict") == "translated")

    def translated(host: str, address: str) -> int:
        """How many packets were translated while a host had an address answer one ping. The kernel's own
        multicast on the device is dropped and does not count.
        """
        before = count()
        network[host].run("ping", "-c", "1", "-W", "5", address)
        return count() - before

    assert (translated("host6", embed(HOST4)), translated("host4", MAPPED4)) == (2, 2)
    assert (translated("host6", NATIVE6), translated("host4", NATIVE4)) == (0, 0)
    assert daemon.stop() == 0, daemon.said()
