"""The clients' side, and what keeps it fair: no client, and no address of a client, locks out the others.

`listener` has the sockets, of which `opened` are there already, `connections` is DNS over TCP. `accounts` says to whom
a query is charged, `rates` how many each may ask, `batch` which datagrams come first when more arrive than can be read.
Queries that upstream servers must be asked for wait in the `queues` of `turns`; those that run are `shares`.
"""
