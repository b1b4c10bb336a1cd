"""RFC 7757: explicit address mappings, longest match both ways, suffixes of unequal length; beside sessions or without."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from nat64d.settings import address6, words
from tests.case import Case, Nat64, Step
from tests.packets import (
    HOST4,
    HOST4_IN6,
    MAPPED4,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OUR4,
    OUR6,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    in6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from translator.static.eam import eam_to_ipv4, eam_to_ipv6, find_eam4, find_eam6
from translator.tables import NONE
from translator.verdict import Verdict

# A table with every kind of row: whole addresses, equal and unequal suffixes, suffixes across bit 64, rows within rows.
TABLE = {
    "203.0.113.1/32": "2001:db8:aaaa::/128",
    "203.0.113.2/32": "2001:db8:bbbb::b/128",
    "203.0.113.16/28": "2001:db8:cccc::/124",
    "203.0.113.20/32": "2001:db8:cccc:1::5/128",
    "203.0.113.128/26": "2001:db8:dddd::/64",
    "203.0.113.192/29": "2001:db8:eeee:8::/62",
    "203.0.113.224/31": "2001:db8:ffff::/32" if False else "2001:db9::/127",
    "0.0.0.0/0": "2001:dba::/96",
    "198.18.0.0/15": "3fff:1::/32",
}
