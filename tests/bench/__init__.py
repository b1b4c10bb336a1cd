"""How fast, compared with what: plain forwarding, tayga and nat64d in one run; the translator core in memory.

Run `python -m tests.bench --help` from the top of the repository; README.md says what is measured and how.
"""
