"""The configurations that are compared, and what the translator is expected to do of what the RFCs leave open."""

from tests.reference.configured import Scope

# What the translator does by design and by now: see Scope.
SCOPE = Scope(hairpins_directly=True)

# The tables are small so that they fill, the limit of errors is high so that each is seen.
CONFIGS = {
    "two addresses": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "the well-known prefix over a private pool": """
        pool6 = "64:ff9b::/96"
        pool4 = [{ addresses = "169.254.64.0/30" }]
        translation = { rfc6791_ipv6 = "2001:db8:6791::/64" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "eight ports, small MTUs, zero checksums dropped": """
        pool6 = "2001:db8:64::/64"
        pool4 = [{ addresses = "192.0.2.1", ports = "1020-1027" }]
        translation = { mtu4 = 1400, mtu6 = 1400, lowest_ipv6_mtu = 1300, clamp_mss = true, udp_zero_checksum = "drop" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "two addresses of one port, a host has one of them": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2", ports = "1024-1024" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "two addresses of one port, soft pairing, a session a second": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2", ports = "1024-1024" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_rate = 1, pairing = "soft" }
    """,
    "one port a host and protocol": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        forward = [{ protocol = "udp", ipv4 = "192.0.2.77:53", ipv6 = "[2001:db8:6::2]:5001" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_ports = 1 }
    """,
    "address-dependent filtering, traffic class set, zero checksums forwarded": """
        pool6 = "3fff:64::/32"
        pool4 = [{ addresses = "192.0.2.1" }]
        filtering = { address_dependent = true, rst_during_fin = true }
        translation = { udp_zero_checksum = "forward", traffic_class = 7 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "nothing from outside, three sessions a host, an IPv4 hop of 1000 octets": """
        pool6 = "2001:db8:6400::/40"
        pool4 = [{ addresses = "192.0.2.1" }]
        filtering = { drop_inbound_tcp = true, drop_icmp_info = true }
        translation = { mtu4 = 1000 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_sessions = 3 }
    """,
    "forwards in and outside the pool, low ports, three ports a host": """
        pool6 = "2001:db8:100:6400::/56"
        pool4 = [{ addresses = "192.0.2.1", ports = "1-65535" }]
        forward = [
            { protocol = "tcp", ipv4 = "192.0.2.1:80", ipv6 = "[2001:db8:6::1]:5000" },
            { protocol = "udp", ipv4 = "192.0.2.77:53", ipv6 = "[2001:db8:6::2]:5001" },
        ]
        translation = { udp_zero_checksum_ports = { drop = ["53"], forward = ["1000-2000"] } }
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_ports = 3, fragments_memory = 0 }
    """,
    "other protocols too, RSTs checked and believed early": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2", protocols = ["tcp", "udp", "icmp", "other"] }]
        filtering = { check_rst = true, rst_during_fin = true }
        timeouts = { tcp_opening = 30, tcp_closing = 300, tcp_transitory = 270 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "tenants by source prefix, denied addresses": """
        pool6 = "2001:db8:64::/48"
        pool4 = [
            { addresses = "192.0.2.1", protocols = ["udp", "tcp"] },
            { addresses = "192.0.2.2", source = "2001:db8:6::2/128" },
        ]
        translation = { denylist4 = ["9.9.9.9/32", "192.0.2.1/32"] }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "services in and beside the pool, two of one endpoint, one without any": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1", ports = "1024-65535" }]
        forward = [{ protocol = "udp", ipv4 = "192.0.2.80:5001", ipv6 = "[2001:db8:6::2]:5001" }]
        service = [
            { name = "web", ipv4 = "192.0.2.1:80", endpoints = ["[2001:db8:6::1]:5000", "[2001:db8:6::2]:80"] },
            { name = "again", ipv4 = "192.0.2.80:80", affinity = "client", affinity_timeout = 90, endpoints = [
                "[2001:db8:6::1]:5000", { address = "[2001:db8:6::2]:5000", weight = 0 },
            ] },
            { name = "dns", protocol = "udp", ipv4 = "192.0.2.80:53", endpoints = [
                { address = "[2001:db8:6::1]:53", weight = 3 }, { address = "[2001:db8:6::2]:53", weight = 0 },
                { address = "[2001:db8:6::2]:1024", weight = 2 },
            ], affinity = "client", affinity_timeout = 150 },
            { name = "some", ipv4 = "192.0.2.80:5000", sources = ["8.8.0.0/16"], endpoints = [
                { address = "[2001:db8:6::1]:80", weight = 3 }, "[2001:db8:6::2]:53",
            ] },
            { name = "nobody", protocol = ["tcp", "udp"], ipv4 = "192.0.2.80:1023", endpoints = [] },
        ]
        timeouts = { service_syn = 20, service_udp = 100 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "services in a small table, one endpoint each": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1", ports = "1024-65535" }]
        service = [
            { name = "web", ipv4 = "192.0.2.1:80", endpoints = ["[2001:db8:6::1]:5000"] },
            { name = "dns", protocol = "udp", ipv4 = "192.0.2.80:53", endpoints = ["[2001:db8:6::2]:53"] },
        ]
        filtering = { address_dependent = true, drop_inbound_tcp = true, check_rst = true }
        limits = { sessions = 16, icmp_errors_per_second = 1000000 }
    """,
    "services with prefixes of their own, two of one endpoint under each, beside the well-known one": """
        pool6 = "64:ff9b::/96"
        pool4 = [{ addresses = "192.0.2.1", ports = "1024-65535" }]
        services = { client_prefix = "64:ff9b:1::/96" }
        service = [
            { name = "web", protocol = ["tcp", "udp"], ipv4 = "192.0.2.1:80", endpoints = ["[2001:db8:6::1]:5000"] },
            { name = "again", ipv4 = "192.0.2.80:80", endpoints = ["[2001:db8:6::1]:5000", "[2001:db8:6::2]:80"] },
            { name = "apart", protocol = ["udp", "tcp"], ipv4 = "192.0.2.80:53", endpoints = [
                "[2001:db8:6::1]:5000", "[2001:db8:6::2]:53",
            ], client_prefix = "3fff:c:d00::/40" },
            { name = "alike", protocol = "udp", ipv4 = "192.0.2.80:5000", client_prefix = "64:ff9b::/96", endpoints = [
                "[2001:db8:6::1]:5000",
            ] },
            { name = "other", ipv4 = "192.0.2.80:1023", client_prefix = "3fff:c:d00::/40", endpoints = [
                { address = "[2001:db8:6::1]:5001", weight = 2 }, "[2001:db8:6::2]:53",
            ] },
        ]
        filtering = { check_rst = true }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "no state: the prefix alone, zero checksums calculated": """
        pool6 = "2001:db8:64::/96"
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "no state: well-known prefix, rows of unequal suffixes, small MTUs": """
        pool6 = "64:ff9b::/96"
        eam = [
            { ipv4 = "192.0.2.16/28", ipv6 = "2001:db8:e::/124" },
            { ipv4 = "10.9.0.0/24", ipv6 = "2001:db8:9::/112" },
            { ipv4 = "203.0.113.8", ipv6 = "2001:db8:f::8" },
        ]
        translation = { mtu4 = 1400, mtu6 = 1400, lowest_ipv6_mtu = 1300, rfc6791_ipv4 = ["198.51.100.1/32"] }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "no state: rows within rows and no prefix": """
        eam = [
            { ipv4 = "0.0.0.0/0", ipv6 = "2001:db8:64::/96" },
            { ipv4 = "192.0.2.0/24", ipv6 = "2001:db8:a::/64" },
            { ipv4 = "192.0.2.16/28", ipv6 = "2001:db8:a:0:10::/124" },
            { ipv4 = "192.0.2.17", ipv6 = "2001:db8:b::1" },
        ]
        [translation]
        udp_zero_checksum = "drop"
        udp_zero_checksum_ports = { forward = ["53"], calculate = ["1024-5000"] }
        rfc6791_ipv4 = ["203.0.113.128/25"]
        [limits]
        sessions = 64
        icmp_errors_per_second = 1000000
    """,
    "the customer side of 464XLAT": """
        pool6 = "64:ff9b::/96"
        clat = { ipv6 = "2001:db8:c::464", plat = "64:ff9b::/96" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "the customer side of a network, a prefix of its own": """
        clat = { ipv4 = "192.168.7.0/29", ipv6 = "2001:db8:c::/125", plat = "2001:db8:64::/96" }
        translation = { mtu6 = 1400 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "no state: rows and nothing else, routers hidden": """
        eam = [
            { ipv4 = "192.0.2.16/28", ipv6 = "2001:db8:e::/124" },
            { ipv4 = "8.8.8.8", ipv6 = "2001:db8:8::8" },
            { ipv4 = "9.9.9.0/24", ipv6 = "2001:db8:9::/120" },
        ]
        translation = { rfc6791_ipv6 = "2001:db8:6791::/64", clamp_mss = 1000 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "no state: simple hairpins": """
        pool6 = "2001:db8:64::/48"
        eam = [{ ipv4 = "192.0.2.16/28", ipv6 = "2001:db8:e::/124" }, { ipv4 = "203.0.113.8", ipv6 = "2001:db8:f::8" }]
        translation = { eam_hairpin = "simple" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "sessions and rows": """
        pool6 = "2001:db8:64::/64"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        eam = [
            { ipv4 = "192.0.2.16/29", ipv6 = "2001:db8:e::/125" },
            { ipv4 = "198.51.100.0/24", ipv6 = "2001:db8:f::/96" },
        ]
        translation = { mtu4 = 1400, mtu6 = 1400, rfc6791_ipv4 = ["203.0.113.128/29"] }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "sessions and rows under the well-known prefix, a forward to a neighbour": """
        pool6 = "64:ff9b::/96"
        pool4 = [{ addresses = "169.254.64.0/30" }]
        eam = [{ ipv4 = "10.9.0.0/30", ipv6 = "2001:db8:9::/126" }, { ipv4 = "192.0.2.17", ipv6 = "2001:db8:6::3" }]
        forward = [{ protocol = "udp", ipv4 = "192.0.2.77:53", ipv6 = "[2001:db8:6::2]:5001" }]
        filtering = { address_dependent = true }
        translation = { udp_zero_checksum = "forward", denylist4 = ["9.9.9.9/32"], eam_hairpin = "off" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
}
