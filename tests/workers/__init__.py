"""Several queues over one set of tables at once, while the control plane reads and changes them.

`device` is a TUN device of socket pairs, `traffic` the packets and the proof that none waits for ever, `control` what
an operator does meanwhile, `run` all of it for a while. `python -m tests.workers --seconds 600`.
"""
