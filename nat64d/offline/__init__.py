"""The translator without a TUN device and without root: captures in, captures and verdicts out.

`engine` is the translator in memory, `entry` the way from there into compiled code; `capture` reads and writes pcap
files, `link_types` knows their frames; `chunk` translates many packets in one compiled call, `replay` is the command,
`compare` tells what differs from a golden capture, `history` what came before. `who` says whose an address and port is.
"""
