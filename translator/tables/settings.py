"""What the operator configured, as numbers and arrays. Immutable: a reload makes new ones."""

import numpy as np

from translator.jit.reference import by_reference


@by_reference
class Settings:
    """The configuration, as numbers. Made by the daemon from its config; never changed."""

    pool6_hi: int
    pool6_lo: int
    pool6_length: int  # NONE: there is no pool6
    prefixes: np.ndarray  # int64[n, 3]: hi, lo and length of pool6, and of the client prefixes of services
    client_prefixes: int  # how many of them are not pool6
    strict_well_known_prefix: int
    stateful: int  # hosts without a static mapping get sessions; otherwise they need an IPv4-translatable address
    eam: np.ndarray  # EAM
    eam_index4: np.ndarray  # int64[2^k] index: (ipv4 prefix, length) -> row of eam
    eam_index6: np.ndarray  # int64[2^k] index: (ipv6 prefix, length) -> row of eam
    eam_lengths4: np.ndarray  # int64: prefix lengths in use, descending
    eam_lengths6: np.ndarray  # int64
    clat: int  # IPv4 hosts without a row of eam are refused (RFC 6877)
    eam_hairpin: int  # mapping.OFF, SIMPLE, INTRINSIC
    groups: np.ndarray  # GROUP, longest source prefix first
    pool: np.ndarray  # POOL
    ranges4: np.ndarray  # int64[n, 2], sorted: IPv4 addresses that are ours (pool4, forwards, services), first and last
    vips4: np.ndarray  # int64[n, 2]: those of services
    closed4: np.ndarray  # int64[n, 2]: those of them that are not in pool4 too
    seed: np.ndarray  # int64[2]: key of the hash that chooses members, equal on all gateways
    front6: int  # handles.OFF, DNAT, FULLNAT: what IPv6 clients of services are
    source6_hi: int  # FULLNAT: the upper half of the addresses that endpoints see instead of theirs
    echo: int  # addresses of services answer pings
    endpoint_gone: int  # members.KEEP or RESET: what becomes of connections of a member that is of no front any more
    silent: np.ndarray  # int64[verdict]: 1 where nobody is told although the verdict's row has an answer
    resets_per_second: int
    denylist4: np.ndarray  # int64[n, 2]
    rfc6791: np.ndarray  # int64[n]: sources for ICMP errors of untranslatable IPv6 routers
    rfc6791_hi: int  # the source for those of untranslatable IPv4 routers,
    rfc6791_lo: int
    rfc6791_bits: int  # and which bits of a router's address go into it
    own4: int  # the source of our ICMP errors
    own6_hi: int
    own6_lo: int
    other_protocols: int  # some row of pool is for them
    timeouts: np.ndarray  # int64[Timeout], milliseconds
    address_dependent: int
    drop_inbound_tcp: int
    drop_icmp_info: int
    reset_until: int  # milliseconds of the clock: until then a TCP segment of no session is answered with a RST
    check_rst: int
    rst_during_fin: int
    mtu4: int  # 0: the kernel's route answers for its own links
    mtu6: int
    lowest_ipv6_mtu: int
    mss: int  # what the MSS of a SYN is lowered to, 0: it stays
    service_mss: int  # and that of a SYN of a service
    zero_udp_checksum: int  # transport.CALCULATE, DROP or FORWARD
    zero_udp_checksum_ports: np.ndarray  # int64[n, 3]: first and last destination port, and what holds for them
    traffic_class: int  # NONE: copy
    plateaus: np.ndarray  # int64, descending
    subscriber: int  # length of the prefix that is one subscriber, 48 to 128
    subscriber_hi: int  # and its mask
    subscriber_lo: int
    per_host_sessions: int  # 0: no limit
    per_host_ports: int  # in each protocol
    per_host_rate: int  # new sessions a second
    strict_pairing: int  # a host has one pool address, full or not
    port_quarantine: int  # milliseconds
    port_block: int  # ports of a block, 0: there are no blocks
    blocks: int  # that a subscriber may have
    errors_per_second: int
    logged: int  # bit k: session/log.py logs Kind k
    accounting: int  # what sessions carry is counted: Tables.accounts has a row for each
    queues: int
    secret: np.ndarray  # int64[2]: key of every hash
    identifications: np.ndarray  # int32[65536]: a secret permutation
