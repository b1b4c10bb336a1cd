"""An independent translator, written from the RFCs alone, to hold the real one against.

Nothing here imports `translator`, and nothing here is fast: every rule is one plain statement with its section beside
it. Start at `oracle.py`; `outcome.py` says what an expectation is and how a difference is shown.
"""
