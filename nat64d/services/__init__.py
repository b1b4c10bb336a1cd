"""What is done for services beside the packets: their endpoints are asked, their addresses announced.

`probes` asks an endpoint once; `standing` turns answers into whether it serves; `checker` asks all of them, again and
again. `announcer` answers for addresses on the links that they belong to: `claim` says when what is due, `messages`
are the octets, `wire` the sockets.
"""
