"""The DNS64 name server (RFC 6147). It runs in processes of its own.

A query arrives at a socket of `clients`. `resolver` decides what happens to it: `rules` say what is answered locally,
refused or synthesised; `upstreams` ask other name servers and cache their answers; `message` reads and writes octets.
`service` is the process and the daemon's side of it. `trace` explains the way of a query in words, `export` writes the
same rules for other DNS servers, `command` has the two commands for that.
"""
