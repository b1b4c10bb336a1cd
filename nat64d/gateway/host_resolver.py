"""A resolver, that of this host or another, asked about ipv4only.arpa: apart, because most starts need no dnspython."""

from collections.abc import Sequence
from ipaddress import IPv6Address

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from nat64d.gateway.clat_prefix import ATTEMPT, NAME, RESOLV_CONF, Addresses, DiscoveryError, Found


def _reason(error: Exception, asked: str) -> str:
    """Why a resolver gave no answer."""
    match error:
        case dns.resolver.NoResolverConfiguration():
            return f"{RESOLV_CONF} names no server"
        case dns.resolver.LifetimeTimeout():
            return f"{asked} answered within {ATTEMPT:g} s"
        case ValueError():
            return f"{RESOLV_CONF} has a line that cannot be understood"
        case OSError():
            return error.strerror or str(error)
    return str(error)  # the servers, and what each of them said


class HostResolver:
    """The resolver of this host, whose configuration is read again each time; or the server at an address and port."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        self._server = server

    def _resolver(self) -> dns.asyncresolver.Resolver:
        if self._server is None:
            return dns.asyncresolver.Resolver()
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self._server[0]], self._server[1]
        return resolver

    async def announced(self) -> Found | None:
        """Nothing: it is the resolver that is asked."""
        return None

    async def ask(self) -> Addresses:
        """The question has the CD bit clear: with it set a DNS64 makes no addresses (RFC 6147 section 5.5)."""
        try:
            found = await self._resolver().resolve(
                NAME, "AAAA", search=False, lifetime=ATTEMPT, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as error:
            return Addresses((), _negative_ttl(error.kwargs["responses"][dns.name.from_text(NAME)]))
        except (dns.exception.DNSException, OSError, ValueError) as error:  # ValueError: a bad line in resolv.conf
            asked = f"{self._server[0]} has not" if self._server else f"no server of {RESOLV_CONF}"
            raise DiscoveryError(f"no answer about {NAME} ({_reason(error, asked)})") from None
        if found.rrset is None:
            return Addresses((), _negative_ttl(found.response))
        return Addresses(tuple(IPv6Address(record.address) for record in found), found.rrset.ttl)

    def servers(self) -> Sequence[str]:
        """Those of resolv.conf."""
        try:
            return [str(server) for server in self._resolver().nameservers]
        except (dns.exception.DNSException, ValueError):
            return ()


def _negative_ttl(response: dns.message.Message) -> int:
    """RFC 2308 section 5: the lesser of TTL and MINIMUM of the SOA record; 0 if there is none."""
    assert isinstance(response, dns.message.QueryMessage)
    negative = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return response.resolve_chaining().minimum_ttl if negative else 0
