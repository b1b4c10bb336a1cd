"""What neighbours are told, and how the host watch says what stands in its way: router advertisements, and addresses of
services."""

import logging
from typing import TYPE_CHECKING

from nat64d.gateway.state import Live

if TYPE_CHECKING:
    from nat64d.host.vips import Vip
    from nat64d.host.watch import Watch

log = logging.getLogger("nat64d")


async def advertise(live: Live, watch: "Watch") -> None:
    """Send the router advertisements of [ra], which a reload may bring, until cancelled."""
    from nat64d.advertise.advertiser import Advertiser  # noqa: PLC0415

    advertiser = live.advertiser = Advertiser(log, watch.look_again)
    watch.announcing = advertiser.announcing
    advertiser.use(live.config)
    await advertiser.run(lambda: live.is_started_again)


async def announce(live: Live, watch: "Watch") -> None:
    """Answer for addresses of services, and announce them, where [services] announce says so, until cancelled."""
    from nat64d.services.announcer import Announcer  # noqa: PLC0415

    host = live.host
    assert host is not None

    def answer(ours: "frozenset[Vip]") -> None:
        with watch.held():
            if not announcer.ended:  # what is withdrawn stays so
                host.answer(ours)

    announcer = live.announcer = Announcer(log, answer, watch.look_again)
    watch.claiming = announcer.claiming
    announcer.use(live.config)
    if watch.seen:
        announcer.see(watch.seen)
    await announcer.run(host.wanted.answered)
