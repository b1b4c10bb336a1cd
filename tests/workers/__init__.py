"""Several queues over one set of tables at once, while the control plane reads and changes them.

`device` is a TUN device of socket pairs, `traffic` the packets and the proof that none waits for ever, `control` what
an operator does meanwhile, `run` all of it for a while. `python -m tests.workers --seconds 600`. `orders` tries every
order of the steps of a few threads: of the lock, and of a queue that is stopped, woken and given other settings.
"""
