"""The stateless half: addresses that need no memory.

`rfc6052` embeds an IPv4 address in an IPv6 address and takes it out again.
"""
