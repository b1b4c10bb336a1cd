"""Router advertisements with the NAT64 prefix (PREF64, RFC 8781), sent and heard.

`message` are their octets, `wire` the sockets they go through, `timing` says when one is due, `advertiser` sends them
on the interfaces of [ra], `listener` hears those of others.
"""
