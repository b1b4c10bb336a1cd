"""Fragments that cannot be translated alone: `datagrams` decides what happens to one, `reassembly` keeps it until the
others arrive.
"""
