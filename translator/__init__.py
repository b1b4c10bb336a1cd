"""The data plane: octets and arrays in, octets and a verdict out. No clock, no socket, no logging, no randomness.

Read `pipeline` first, then `examine`, what is refused at once, and `front6`, IPv6 clients of services; what time alone
brings about is in `clock`. `verdict` lists every way a packet can end; `explain` is the way of a packet, recorded.
"""
