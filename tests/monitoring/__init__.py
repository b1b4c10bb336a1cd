"""What config/grafana/ ships: the tables that it is written from, and the tests that evaluate each expression.

`alerts` and `dashboard` are the tables (`make readme` writes the files), `promql` evaluates, `daemon` is what it is
evaluated on.
"""
