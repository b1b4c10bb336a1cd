"""Captures through the translator, without a TUN device and without root.

`capture` reads and writes them, `chunk` translates many packets in one compiled call, `compare` tells what differs from
a golden capture, `replay` is the command.
"""
