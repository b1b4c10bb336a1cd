"""The side of the upstream servers.

`exchange` (UDP) and `stream` (TCP, TLS) carry questions to one server, `race` chooses among several, `cache` keeps
answers, `upstream` has the list of servers and puts the cache in front of them.
"""
