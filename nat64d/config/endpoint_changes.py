"""Configurations that differ in the endpoints of services alone, or in how these are chosen: a program changes those of
a large fleet all day, and what follows from everything else need not be found out again.

What has not changed is the same object in both: `with_changes` sees to that.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from nat64d.config.models import Config
from nat64d.config.services import Service


def is_about_endpoints(before: Config, after: Config) -> bool:
    """Whether each service has the addresses, ports, and prefix of clients that it had, there are no others, and
    nothing else differs. No may mean that this is not quickly known."""
    if any(getattr(before, key) is not getattr(after, key) for key in Config.model_fields if key != "service"):
        return False
    gone, came = changed(before, after)
    then = {service.name: service for service in gone}
    return len(then) == len(gone) == len(came) and all(_is_alike(then.pop(one.name, None), one) for one in came)


def concerns_no_host(before: Config, after: Config) -> bool:
    """Whether they differ in endpoints alone, and not in those whose packets the host leads to us: where IPv6 clients
    are shown as they are, what endpoints send to these."""
    led = after.services.ipv6_front == "dnat" and any(one.ipv6 for one in changed(before, after)[1])
    return is_about_endpoints(before, after) and not led


def changed(before: Config, after: Config) -> tuple[list[Service], list[Service]]:
    """The services that went, and those that came; one that has changed is in both lists."""
    gone, came = _changed(Same(before.service), Same(after.service))
    return [*gone], [*came]


class Same(NamedTuple):
    """Services, as the very tuple that they are: to compare what is in it would take long."""

    services: tuple[Service, ...]

    def __hash__(self) -> int:
        return id(self.services)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.services is other.services


@lru_cache(2)  # a change asks several times
def _changed(before: Same, after: Same) -> tuple[list[Service], list[Service]]:
    old, new = set(map(id, before.services)), set(map(id, after.services))
    gone = [service for service in before.services if id(service) not in new]
    came = [service for service in after.services if id(service) not in old]
    equal = set(gone).intersection(came)
    return [service for service in gone if service not in equal], [one for one in came if one not in equal]


def is_sound_beside(before: Config, after: Config, contradictions: Callable[[Config], Iterator[object]]) -> bool:
    """Whether they differ in endpoints alone, and nothing is wrong with `after`, as nothing was with `before`."""
    _, came = changed(before, after)
    if (
        not is_about_endpoints(before, after)
        or sum(service.members for service in after.service) > after.limits.service_members
    ):
        return False
    vips6 = after.vips6
    if vips6 and any(end.end6.address in vips6 for service in came for end in service.endpoints):
        return False
    return not came or next(contradictions(after.model_copy(update={"service": tuple(came)})), None) is None


def _is_alike(old: Service | None, new: Service) -> bool:
    """Whether two services have what packets are addressed to in common."""
    ours = ("protocol", "ipv4", "ipv6", "client_prefix")
    return old is not None and all(getattr(old, key) == getattr(new, key) for key in ours)
