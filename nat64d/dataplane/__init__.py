"""Where packets come from and go to: the TUN device, the worker's loop, and what the host needs around them.

tun.py opens the device; host.py prepares the host and puts it back, by means of rtnetlink.py (links, addresses,
routes), sysctl.py (kernel parameters), nft.py (masquerade) and journal.py (what was there before).
"""
