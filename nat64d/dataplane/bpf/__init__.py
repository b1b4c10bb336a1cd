"""The fast path in the kernel: translator/fastpath as a BPF program.

`build` makes an object of it, `kept` keeps that, `link` the instructions of it for maps and numbers, with `loops` that
every kernel accepts. `numbers` says which numbers those of a configuration are, `maps` has tables in memory that the
program sees too, `summed` what it has counted, `system` speaks to the kernel by bpf(2), with the `privilege` that
takes, `words` says what goes wrong. `attach` puts the program at a device, `interfaces` at others, where packets come
in. `left` is what of it a process before has left, by a service manager or by `pins`; `fast` is all of it for a running
gateway, `stand` stands for the kernel where somebody asks what the program would do.
"""
