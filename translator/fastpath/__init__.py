"""The subset of the pipeline for flows whose way is known, made so that it also becomes a BPF program.

`program` is the program: which packets it takes; `packets` reads them, `ways` says where one goes: by [[eam]] and
prefix (`mappings`, `prefixes`), or by its session in the tables of the daemon (`sessions`), if it overtakes nothing
there (`order`); `write` makes it one of the other family. `reasons` says why a packet is left to the daemon, `kernel`
has the numbers of the kernel's interface, the maps and the parameters. Nothing here becomes machine code, and
`nat64d run` without a fast path does not import it.
"""
