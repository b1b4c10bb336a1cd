"""Compiling the data plane on first use: `entries` is everything that is called from Python, compiled in one go;
`beside` has a second process do half of it, `progress` shows how far it is.
"""
