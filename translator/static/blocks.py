"""IPv4 and IPv6 blocks with a meaning of their own, for translator, name server and configuration alike (no numba).

RFC 6890 is the register; each block names the RFC that made it.
"""

from ipaddress import IPv4Network, IPv6Network

# IPv4
THIS_NETWORK4 = IPv4Network("0.0.0.0/8")  # RFC 1122 section 3.2.1.3
LOOPBACK4 = IPv4Network("127.0.0.0/8")  # RFC 1122 section 3.2.1.3
LINK_LOCAL4 = IPv4Network("169.254.0.0/16")  # RFC 3927
RFC1918 = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
SHARED4 = IPv4Network("100.64.0.0/10")  # between a provider's NAT and its customers (RFC 6598)
ASSIGNMENTS4 = IPv4Network("192.0.0.0/24")  # for protocols of the IETF (RFC 6890 section 2.1)
BENCHMARKS4 = IPv4Network("198.18.0.0/15")  # RFC 2544
MULTICAST4 = IPv4Network("224.0.0.0/4")  # RFC 5771
RESERVED4 = IPv4Network("240.0.0.0/4")  # RFC 1112 section 4, with the limited broadcast address

# IPv6
UNSPECIFIED6 = IPv6Network("::/128")  # RFC 4291 section 2.5.2
LOOPBACK6 = IPv6Network("::1/128")  # RFC 4291 section 2.5.3
LINK_LOCAL6 = IPv6Network("fe80::/10")  # RFC 4291 section 2.5.6
UNIQUE_LOCAL6 = IPv6Network("fc00::/7")  # RFC 4193
MULTICAST6 = IPv6Network("ff00::/8")  # RFC 4291 section 2.7
MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4-mapped addresses (RFC 4291 section 2.5.5.2)
WELL_KNOWN = IPv6Network("64:ff9b::/96")  # the well-known prefix (RFC 6052 section 2.1)

# What no host has: RFC 1122 section 3.2.1.3. In IPv6 ::/64 has the unspecified address, loopback, IPv4-mapped and
# -compatible addresses; link-local ones are not seen beyond a router (RFC 4291 section 2.5.6).
NO_HOSTS4 = (THIS_NETWORK4, LOOPBACK4, MULTICAST4, RESERVED4)
NO_HOSTS6 = (IPv6Network("::/64"), LINK_LOCAL6, MULTICAST6)

# What no host beyond a router has: RFC 3927 section 2.7.
NOT_BEYOND_A_ROUTER4 = (*NO_HOSTS4, LINK_LOCAL4)

# Where a cloud tells a machine, and nobody else, its credentials, beside 169.254.169.254: Alibaba Cloud, Azure, Oracle
# Cloud.
METADATA4 = (IPv4Network("100.100.100.200/32"), IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.192/32"))

# What many networks use inside and none shows to the others.
PRIVATE4 = (*RFC1918, SHARED4, LINK_LOCAL4)

# RFC 6052 section 3.1: not to be written under the well-known prefix. The documentation blocks (RFC 5737) may be: no
# network has them, and RFC 6052 section 2.4 writes one so itself.
NON_GLOBAL4 = (*NO_HOSTS4, *PRIVATE4, ASSIGNMENTS4, BENCHMARKS4)

# Clients that a service may serve by default: never the internet.
LOCAL = (LOOPBACK4, *PRIVATE4, LOOPBACK6, UNIQUE_LOCAL6, LINK_LOCAL6)
