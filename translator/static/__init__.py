"""Address translation without state.

`rfc6052` embeds an IPv4 address in an IPv6 prefix and extracts it, `eam` looks up explicit mappings (RFC 7757);
`arithmetic` has the shifts of both, without numba, for the name server too. `mapping` decides between the two, `errors`
chooses sources of ICMP errors (RFC 6791), `addresses` says which addresses may be translated, `blocks` lists the
special address blocks.
"""
