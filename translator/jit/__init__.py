"""What concerns numba and not packets: `compile` (the decorators), `function` (what they make), `cache` (where machine
code is kept), `reference` (classes passed by address), `lock` (the spinlock), `words` (big-endian words), `bpf` (words
for a program in the kernel).
"""
