"""The stateful half (RFC 6146): tuples, filtering, BIB, sessions, TCP states, lifetimes, pool4.

`filtering.filter_and_update` is the entrance; everything it does happens under the tables' one lock.
"""
