"""What is allowed and yet probably not meant."""

from collections.abc import Iterator

from nat64d.config.models import PRIVATE4, WELL_KNOWN, Config

OPEN = 8  # bits: who lets so wide a prefix ask, lets strangers ask


def warnings(config: Config) -> list[str]:
    """A sentence each."""
    return [*_pools(config), *_rfc6791(config), *_stateless(config), *_dns64(config)]


def _pools(config: Config) -> Iterator[str]:
    masquerade = config.host.masquerade
    for pool in config.pool4:
        row = f'[[pool4]] addresses = "{pool.addresses}"'
        private = any(prefix[0] <= pool.last and pool.first <= prefix[-1] for prefix in PRIVATE4)
        if private and masquerade == "off":
            yield f'{row} is private and [host] masquerade = "off": only a further NAT lets answers return.'
        if not private and masquerade != "off":
            yield f'{row} is public, yet [host] masquerade = "{masquerade}" hides it behind this host.'


def _rfc6791(config: Config) -> Iterator[str]:
    for prefix in config.translation.rfc6791_ipv4:
        if any(prefix.overlaps(private) for private in PRIVATE4):
            yield (
                f"[translation] rfc6791_ipv4 has private addresses, {prefix}: networks that filter them will miss ICMP "
                "errors (RFC 6791 section 3.1)."
            )


def _stateless(config: Config) -> Iterator[str]:
    if config.pool6 == WELL_KNOWN and not (config.pool4 or config.forward or config.mappings):
        yield (
            f"pool6 is {WELL_KNOWN} and there is nothing else: IPv6 hosts would need addresses under it, which "
            "they should not have (RFC 6052 section 3.1). Take a prefix of your own."
        )


def _dns64(config: Config) -> Iterator[str]:
    if config.dns64 is None:
        return
    policies = [prefix for row in config.dns64.policy for prefix in row.clients]
    for prefix in (*policies, *(config.dns64.clients if config.dns64.clients != "local" else ())):
        if prefix.prefixlen < OPEN:
            yield (
                f"[dns64] lets {prefix} ask: an open resolver is soon part of attacks on others (RFC 5358). "
                "Name the prefixes of your own hosts."
            )
