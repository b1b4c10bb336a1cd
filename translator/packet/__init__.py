"""Header translation (RFC 7915): where octets become numbers, where numbers become octets again.

`fields` reads and writes single fields, `parse` makes a View, `headers`, `transport` and `icmp` write the other
family's packet, `icmp_error` the errors we originate, `fragments` decides sizes.
"""
