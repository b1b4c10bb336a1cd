"""Where packets come from and go to.

`tun` opens the device, `worker` is the loop of one queue, `code` names what the daemon calls of it and `plain` is that
in plain Python, `coalesce` joins outgoing datagrams to super-frames, `snapshot` copies the tables of a running gateway,
`bpf` is the fast path in the kernel, `drained` tells it how far the workers have got.
"""
