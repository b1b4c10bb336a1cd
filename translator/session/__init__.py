"""Stateful NAT64 (RFC 6146): BIB, sessions, TCP states, pool4.

`filtering` is the entry point; all it does happens while the lock of the tables is held. `bib`, `sessions` and `hosts`
are the tables it works on, `recent` knows the sessions found last; `subscribers` and `port_shares` say what each may
have of what all share. `pool4` allocates addresses and ports, `other_protocols` addresses for protocols without ports;
where there is no port, `displacement` takes one of those that are `unanswered`. `port_blocks` says who has which block
of ports, `block_ports` allocates ports of them, and `computed_blocks` are those of RFC 7422. `tcp_state` is the state
machine, `windows` checks TCP resets, `simultaneous_open` keeps SYNs. `services` has the addresses that many hosts
serve, `members` changes them, `rendezvous` says which one a flow goes to, `affinity` which one a client stays at,
`clients6` has IPv6 clients. `restore`, `kept_blocks`, `kept_members`, `kept_ports` and `kept_prefixes` take over what
other tables had, `draft` does so while packets still use those, `fates` are what becomes of it, `ahead` makes it quick.
`lifetimes` says how long a session lives, `accounts` counts what it carries. `log` has what begins and ends. `flush`
ends sessions on request.
"""
