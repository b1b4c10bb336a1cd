"""The host around the TUN device: set up at start, watched, undone at the end.

`host` does it with `rtnetlink` (links, addresses, routes), `routes`, `sysctl` (kernel parameters) and `nft`
(masquerade);
`wanted` says what must stand, `undo` takes changes back, `journal` keeps the old values on disk, so that the next
start can undo what a killed process left, `presence` who else needs this host to forward, `errors` has what is
raised. `descriptors` raises the limit of open files, `groups` knows the groups of users.

`facts` reads what is there as plain values, `checks` says what of a configuration does not fit it. `watch` looks
again at every change: `standing` is one look, `changes` what has to be set up again, `conditions` what the operator
has to do, `ruleset` and `firewall` whether nftables lets packets pass, `legacy` whether the older iptables does,
`passed_by` which rules see half of what a fast path takes;
`board` knows which conditions stand, and since when, `mark` is what becomes one at a watermark. `own6` makes the
address of a CLAT of those that an interface has; `own4` says which addresses of interfaces pools share with this
host, `steering` leads their ports to us, `steering6` what endpoints of services send, `vips` answers for addresses
of services and withdraws them; `clat4` knows who may use the addresses of a CLAT.
"""
