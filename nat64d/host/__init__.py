"""The host around the TUN device: set up at start, undone at the end.

`host` does it with `rtnetlink` (links, addresses, routes), `sysctl` (kernel parameters) and `nft` (masquerade);
`facts` reads what is there as plain values, `checks` says what of a configuration does not fit it;
`journal` keeps the old values on disk, so that the next start can undo what a killed process left. `descriptors` raises
the limit of open files.
"""
