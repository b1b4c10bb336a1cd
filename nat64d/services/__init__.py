"""What the endpoints of a [[service]] are known to do, beside the packets.

`probes` asks an endpoint once; `standing` turns answers into whether it serves; `checker` asks all of them, again and
again.
"""
