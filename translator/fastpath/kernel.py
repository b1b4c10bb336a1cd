"""What the program and its loader agree on: the kernel's interface, maps, and numbers that are filled in at load."""

from translator.jit.bpf import bpf_map, helper, parameter

# struct __sk_buff (include/uapi/linux/bpf.h)
LENGTH, PACKET_TYPE, MARK, PROTOCOL, VLAN_PRESENT, IFINDEX, DATA, DATA_END, GSO_SIZE = 0, 4, 8, 16, 20, 40, 76, 80, 176
IPV4, IPV6 = 0x0008, 0xDD86  # PROTOCOL, in the order of the network
PASS, NEXT = 0, -1  # to the device; to whatever other program stands at an interface
TO_US = 0  # PACKET_TYPE (linux/if_packet.h)
INGRESS = 1  # flag of `redirect`
RECOMPUTE = 1  # flag of `store_bytes`: a sum that the network card has made of the packet stays right
PSEUDO, MANGLED_0 = 0x10, 0x20  # flags of `l4_csum_replace`

lookup = helper(1, 2)
clock = helper(5, 0)
cpu_number = helper(8, 0)
store_bytes = helper(9, 5)
l4_csum_replace = helper(11, 5)
redirect = helper(23, 2)
change_proto = helper(31, 3)
csum_update = helper(40, 2)
coarse_clock = helper(160, 0)

# Maps, all of them arrays: the tables of the daemon of that name,
sessions, sessions6, sessions4 = bpf_map("sessions"), bpf_map("sessions6"), bpf_map("sessions4")
accounts = bpf_map("accounts")  # what sessions have carried, as Tables.accounts
since = bpf_map("since")  # SINCE octets a session: what the daemon was given of it from each side
addresses = bpf_map("addresses")  # int64[n, 3]: ranges of IPv4 addresses, sorted, and what holds for each
identifications = bpf_map("identifications")  # int32[65536]: Settings.identifications
counters = bpf_map("counters")  # a row for each Reason, on each CPU: packets, octets, super-frames
eam, eam_index4, eam_index6 = bpf_map("eam"), bpf_map("eam_index4"), bpf_map("eam_index6")  # of Settings
eam_lengths = bpf_map("eam_lengths")  # int64[n, 2]: prefix lengths of IPv4 and IPv6, descending
prefixes = bpf_map("prefixes")  # of Settings
drained = bpf_map("drained")  # a row for each queue, a cache line: nanoseconds; what was queued before has been written
SINCE, COUNTED = 16, 24
MAPS = (
    *("sessions", "sessions6", "sessions4", "accounts", "since", "addresses", "identifications", "counters"),
    *("eam", "eam_index4", "eam_index6", "eam_lengths", "prefixes", "drained"),
)
# What holds for addresses: they are ours; they have an [[eam]]; no packet goes there; none that is under a prefix does.
OURS, MAPPED, BARRED, NOT_EMBEDDED = 1, 2, 4, 8

# Parameters.
PARAMETERS = (
    "link_header",  # octets before the IP header: 14 at an interface, and in a test run, which knows Ethernet only
    "device",  # at another interface: the TUN device, to whose ingress packets go; they were not forwarded to it yet
    "device_mtu",  # what is larger is not forwarded to it; 0: that has been seen to
    "clock_in_mark",  # in a test run the mark of a packet says when it is, in milliseconds
    "secret0",
    "secret1",
    "index_size",
    "pool6_hi",
    "pool6_lo",
    "pool6_length",
    "client_prefixes",
    "mtu4",
    "mtu6",
    "lowest_ipv6_mtu",
    "traffic_class",
    "check_rst",
    "stateful",
    "drop_icmp_info",
    "accounting",  # whether it is counted what sessions carry
    "mss",  # whether SYNs without a session are looked at
    "services",  # whether a host may be an endpoint
    "eams",
    "eam_mask",
    "eam_lengths4",  # how many
    "eam_lengths6",
    "tcp_timeout",
    "udp_timeout",
    "icmp_timeout",
    "service_udp_timeout",
    "ranges",  # rows of `addresses`, a power of two
    "begins",  # when packets without sessions are taken: what came before is no longer in the daemon's queue then
    "queues",  # of the device; 0: there is no daemon that packets wait for
    "cpus",  # that share the Identifications
)
(
    link_header,
    device,
    device_mtu,
    clock_in_mark,
    secret0,
    secret1,
    index_size,
    pool6_hi,
    pool6_lo,
    pool6_length,
    client_prefixes,
    mtu4,
    mtu6,
    lowest_ipv6_mtu,
    traffic_class,
    check_rst,
    stateful,
    drop_icmp_info,
    accounting,
    mss,
    services,
    eams,
    eam_mask,
    eam_lengths4,
    eam_lengths6,
    tcp_timeout,
    udp_timeout,
    icmp_timeout,
    service_udp_timeout,
    ranges,
    begins,
    queues,
    cpus,
) = map(parameter, PARAMETERS)
