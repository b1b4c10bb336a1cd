"""Header translation (RFC 7915): octets to numbers, and numbers to the octets of the other IP version.

`fields` reads and writes single fields, `checksum` computes and replaces checksums, `virtio` decodes the header in
front of a packet, `addresses` are transport addresses. `parse` makes a View, `tuples` the tuple of RFC 6146;
`packet` is what the steps know of a packet. `fragments` plans sizes, `mss` lowers that of SYNs. `headers`,
`transport` and `icmp` write the new packet, `extensions` the extensions of ICMP errors (RFC 4884), `rewrite` puts
these together; `in_place` is for IPv6 that stays IPv6. `icmp_error` builds ICMP errors of our own, `error_limits`
says how many go out, `segments` writes the TCP segments of our own, `answers` says which of these a packet gets, and
answers pings.
"""
