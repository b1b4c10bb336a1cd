"""Everything that can be looked at, by name."""

from collections.abc import Mapping

from nat64d.doctor import advertisements, conditions, daemon, kernel, links, names, privileges
from nat64d.doctor.look import Reader

READERS: Mapping[str, Reader] = {
    "answer": daemon.answer,
    "status": daemon.status,
    "pools": daemon.pools,
    "pid": daemon.process,
    "host": conditions.host,
    "conditions": conditions.standing_conditions,
    "nft": conditions.obstacle,
    "process": privileges.process,
    "unit": privileges.unit,
    "needed": privileges.needed,
    "tun": kernel.tun_features,
    "ipv6": kernel.ipv6,
    "masquerade": kernel.masquerade,
    "tracked": kernel.tracked,
    "clock": kernel.clock,
    "offloads": links.offloads,
    "mtus6": links.mtus6,
    "made": names.made,
    "taken": names.taken,
    "announced": advertisements.announced,
}
