"""Where packets come from and go to.

`tun` opens the device, `worker` is the loop of one queue, `coalesce` joins outgoing datagrams to super-frames,
`snapshot` copies the tables of a running gateway.
"""
