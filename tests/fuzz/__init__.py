"""Whatever octets arrive: one verdict, nothing written outside the slot, sound packets out, consistent tables.

`python -m tests.fuzz --seconds 60 [--seed 1]`. loop.py mutates and judges, compiled; seeds.py builds what is mutated,
under several configurations; run.py goes round them, and looks at the tables in between.

`python -m tests.fuzz.dns` does so to the name server: dns_seeds.py and dns_mutate.py make messages, dns_queries.py
and dns_answers.py judge what becomes of them, on the clients' and on the servers' side.
"""
