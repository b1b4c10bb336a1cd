"""Side by side: nat64d's name server, unbound and BIND forward to one scripted server and are asked the same questions.

A row says what the server does, what the RFC wants of it, and what is right (`rows_*.py`, in the words of `script.py`
and `row.py`); `measure.py` asks, `table.py` judges and writes docs/dns64.md (`python -m tests.dns64.side --write`).
"""
