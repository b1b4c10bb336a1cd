"""Whatever octets arrive: one verdict, nothing written outside the slot, sound packets out, consistent tables.

`python -m tests.fuzz --seconds 60 [--seed 1]`. loop.py mutates and judges, compiled; seeds.py builds what is mutated,
under several configurations; run.py goes round them, and looks at the tables in between.
"""
