"""RFC 6052 section 2.2: prefixes of every length, of a border relay (RFC 7755) and of a CLAT (RFC 6877)."""

from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import IP, TCP

from tests.case import Nat64, Step
from tests.packets import HOST4, from4, from6, seen4, seen6
from tests.translator.test_rfc6877_464xlat import ASK, BORDER, CLAT, CLAT4, CLAT6, NODE6, REPLY, SERVICE4

# HOST4 under a prefix of each length (RFC 6052 section 2.2).
PREFIXES = {
    "3fff:db8::/32": "3fff:db8:c633:6407::",
    "3fff:db8:100::/40": "3fff:db8:1c6:3364:7::",
    "3fff:db8:122::/48": "3fff:db8:122:c633:64:700::",
    "3fff:db8:122:300::/56": "3fff:db8:122:3c6:33:6407::",
    "3fff:db8:122:344::/64": "3fff:db8:122:344:c6:3364:700:0",
    "3fff:db8:122:344::/96": "3fff:db8:122:344::198.51.100.7",
}


def both(address: str, prefix: str) -> tuple[str, str]:
    """An address under a prefix, and the same with a suffix, which is ignored: its last 16 bits are not IPv4's."""
    return address, address if prefix.endswith("96") else str(IPv6Address(address) + 0xFF)


@pytest.mark.parametrize("config", [BORDER, {"eam": BORDER["eam"]}], ids=["alone", "beside_sessions"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_rfc7755_4_4_a_client_is_served_under_a_prefix_of_any_length(prefix, config):
    nat64, client6 = Nat64(**config | {"pool6": prefix}), PREFIXES[prefix]
    ask, reply = TCP(**ASK, flags="S"), TCP(**REPLY, flags="SA")
    nat64.check(Step(from4(dst=SERVICE4) / ask, seen6(src=client6, dst=NODE6) / ask))
    for client in both(client6, prefix):
        nat64.check(Step(from6(src=NODE6, dst=client) / reply, seen4(src=SERVICE4) / reply))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_rfc6877_6_1_servers_are_under_the_provider_s_prefix_of_any_length(prefix):
    nat64, server6 = Nat64(**CLAT | {"clat": CLAT["clat"] | {"plat": prefix}}), PREFIXES[prefix]
    ask, reply = TCP(**ASK, flags="S"), TCP(**REPLY, flags="SA")
    nat64.check(Step(IP(src=CLAT4, dst=HOST4) / ask, seen6(src=CLAT6, dst=server6) / ask))
    for server in both(server6, prefix):
        nat64.check(Step(from6(src=server, dst=CLAT6) / reply, seen4(src=HOST4, dst=CLAT4) / reply))
