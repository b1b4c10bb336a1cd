"""The pure half: octets and arrays in, octets and a verdict out. No clock, no socket, no logging, no randomness.

Read `pipeline.py` first; `verdict.py` lists every way a packet can end, `tables.py` what is remembered between packets.
"""
