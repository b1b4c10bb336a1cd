"""To whom a query or a connection is charged: at two levels, the subscriber and one address of it."""

from functools import lru_cache
from socket import AF_INET6, inet_pton
from typing import NamedTuple

# LIMITS
KNOWN = 4096  # clients whose accounts are remembered


class Account(NamedTuple):
    """A subscriber and one of its addresses.

    TCP and UDP have accounts of their own: anybody can send UDP with a forged source address, so what UDP
    uses up must leave TCP alone.
    """

    subscriber: str
    address: str


@lru_cache(KNOWN)
def account(client: str, tcp: bool = False) -> Account:
    """The account of a client, whose address is given as text. An IPv6 subscriber is a /64, an IPv4 one an address."""
    by = "tcp " if tcp else ""
    if ":" not in client:
        return Account(by + client, by + client)
    return Account(by + inet_pton(AF_INET6, client.partition("%")[0])[:8].hex(), by + client)


def stranger(who: Account) -> Account:
    """The account of all addresses of a subscriber that were not seen before: they are easily invented."""
    return Account(who.subscriber, who.subscriber + " others")
