"""What is allowed but probably not intended."""

from collections.abc import Iterator

from netaddr import IPSet

from nat64d.config.addresses import split_listener
from nat64d.config.computed import computed_of
from nat64d.config.models import Config
from translator.static.blocks import PRIVATE4, RFC1918, SHARED4, WELL_KNOWN

OPEN = 8  # bits: a client prefix shorter than this includes strangers


def warnings(config: Config) -> list[str]:
    """One sentence for each doubtful setting."""
    found = (_pools, _rfc6791, _private, _stateless, _services, _dns64, _api, _log)
    return [sentence for find in found for sentence in find(config)]


def _pools(config: Config) -> Iterator[str]:
    masquerade = config.host.masquerade
    for pool in config.pool4:
        if pool.interface:
            continue
        row = f'[[pool4]] addresses = "{pool.addresses}"'
        private = not IPSet(pool.range).isdisjoint(IPSet(map(str, PRIVATE4)))
        if private and masquerade == "off":
            yield f'{row} is private, but [host] masquerade = "off": without another NAT no answers come back.'
        if not private and masquerade != "off":
            yield f'{row} is public, but [host] masquerade = "{masquerade}" replaces it with an address of this host.'


def _rfc6791(config: Config) -> Iterator[str]:
    for prefix in config.translation.rfc6791_ipv4:
        if any(prefix.overlaps(private) for private in PRIVATE4):
            yield (
                f"[translation] rfc6791_ipv4 has private addresses, {prefix}: networks that filter such sources do not "
                "get these ICMP errors (RFC 6791 section 3.1)."
            )
    ours = config.tun.ipv4
    is_source = not (config.translation.rfc6791_ipv4 or config.is_stateful or config.clat)
    if ours is not None and is_source and any(ours in private for private in PRIVATE4):
        yield (
            f"[tun] ipv4 = {ours} is private, and the source of ICMP errors of IPv6 routers: networks that filter such "
            "sources do not get them (RFC 6791 section 3.1). Give [translation] rfc6791_ipv4."
        )


def _private(config: Config) -> Iterator[str]:
    """RFC 6052 section 3.1 keeps private addresses from the well-known prefix only."""
    if config.pool6 is None or config.clat or not (config.is_stateful or config.eam):
        return
    denied = IPSet(map(str, config.translation.denylist4))
    reached = [str(block) for block in (*RFC1918, SHARED4) if not IPSet([str(block)]).issubset(denied)]
    if reached and not (config.pool6 == WELL_KNOWN and config.strict_well_known_prefix):
        yield (
            f"pool6 = {config.pool6} also stands for private addresses, so IPv6 hosts reach what this host reaches in "
            f"{', '.join(reached)}. Add to [translation] denylist4 what they must not reach."
        )


def _stateless(config: Config) -> Iterator[str]:
    if config.pool6 == WELL_KNOWN and not (config.is_stateful or config.mappings):
        yield (
            f"pool6 is {WELL_KNOWN} and there is no [[pool4]], [[forward]] or [[eam]]: IPv6 hosts would need addresses "
            "under this prefix, which RFC 6052 section 3.1 advises against. Use a prefix of your own."
        )


def _services(config: Config) -> Iterator[str]:
    denied = IPSet(map(str, config.translation.denylist4))
    if config.service and not config.pool4 and (config.dns64 or config.ra):
        yield (
            "[[service]] without [[pool4]]: hosts behind this gateway, its endpoints among them, do not reach its "
            "addresses, which they are told of under pool6: they have none of pool4 to come from."
        )
    for row, service in enumerate(config.service, 1):
        if service.sources and IPSet(map(str, service.sources)).issubset(denied):
            yield f"[[service]] #{row} {service.name} serves nobody: all of its sources are in [translation] denylist4."
    own = {service.client_prefix for service in config.service}
    under = {prefix or config.services.client_prefix or config.pool6 for prefix in own}
    if WELL_KNOWN in under and config.strict_well_known_prefix:
        place = "pool6" if config.pool6 == WELL_KNOWN else "client_prefix"
        yield (
            f"[[service]] writes its clients under {place}, and {WELL_KNOWN} must not carry private addresses (RFC "
            "6052 section 3.1): clients that have such addresses are refused. Give [services] client_prefix a prefix "
            "of your own, or 64:ff9b:1::/96, to serve them."
        )


def _dns64(config: Config) -> Iterator[str]:
    if config.dns64 is None:
        return
    policies = [prefix for row in config.dns64.policy for prefix in row.clients]
    for prefix in (*policies, *(config.dns64.clients if config.dns64.clients != "local" else ())):
        if prefix.prefixlen < OPEN:
            yield (
                f"[dns64] answers clients in {prefix}: open resolvers are used for attacks on others (RFC 5358). "
                "List the prefixes of your own hosts."
            )


def _api(config: Config) -> Iterator[str]:
    if int(config.api.mode, 8) & 0o002:
        yield (
            f'[api] mode = "{config.api.mode}": every user and program of this host can connect to the control socket, '
            "read who talks to whom, and change mappings. Give it a group instead."
        )
    if config.api.http and not split_listener(config.api.http)[0].is_loopback:
        yield (
            f'[api] http = "{config.api.http}": other hosts can read /metrics, without password or encryption. Let '
            "only those through your firewall that collect metrics, or use 127.0.0.1."
        )


def _log(config: Config) -> Iterator[str]:
    given = config.log
    for name, value in (("session_file", given.session_file), ("ipfix", given.ipfix)):
        if value and given.sessions == "off":
            yield (
                f'[log] {name} = "{value}" gets nothing, because [log] sessions = "off". Give it "blocks", "mappings" '
                'or "sessions".'
            )
    for pool in config.pool4:
        spare = computed_of(pool, config.limits) if pool.deterministic and config.limits.blocks != 1 else None
        if spare and spare.of > spare.each and given.sessions == "off":
            yield (  # RFC 7422 section 2, step 4
                f'[[pool4]] addresses = "{pool.addresses}" hands out blocks that are not computed, and nobody will '
                'know who had one: [log] sessions = "off". Give it "blocks", or set [limits] blocks = 1.'
            )
