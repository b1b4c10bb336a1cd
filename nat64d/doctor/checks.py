"""The table: every check of `nat64d doctor`, in the order in which they are made and printed."""

from nat64d.doctor import advertisements, conditions, daemon, kernel, links, names, privileges
from nat64d.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "daemon",
        ("answer",),
        daemon.unready,
        "whether a daemon answers, and translates",
        "troubleshooting.md#the-daemon-does-not-start",
    ),
    Check(
        "outdated",
        ("status",),
        daemon.outdated,
        "whether it runs with this version and this file",
        "doctor.md#the-daemon",
    ),
    Check("warnings", ("status",), daemon.warned, "what it says does not work as configured", "doctor.md#the-daemon"),
    Check(
        "conditions",
        ("conditions",),
        conditions.standing_but_firewall,
        "each condition of the host, under its own name",
        "conditions.md",
    ),
    Check(
        "firewall",
        ("conditions", "host", "answer", "nft"),
        conditions.firewall,
        "whether nftables or iptables-legacy drops packets from or to the device",
        "conditions.md#the-firewall",
    ),
    Check(
        "configuration",
        (),
        conditions.doubtful,
        "what is allowed but probably not meant, as `nat64d check` says",
        "doctor.md#the-daemon",
    ),
    Check(
        "unit",
        ("unit", "needed"),
        privileges.of_unit,
        "what the unit of systemd takes away, and whether it has failed",
        "doctor.md#privileges",
    ),
    Check(
        "capabilities",
        ("process", "needed"),
        privileges.capabilities,
        "capabilities of the daemon, or of this process where there is none",
        "doctor.md#privileges",
    ),
    Check("open_files", ("process",), privileges.open_files, "how many files it may open", "doctor.md#privileges"),
    Check(
        "tun_driver", ("tun",), kernel.tun_driver, "`/dev/net/tun` and what its driver knows", "doctor.md#the-kernel"
    ),
    Check("tun_device", ("host",), kernel.tun_device, "an existing device: kind, queues, MTU", "doctor.md#the-kernel"),
    Check("ipv6", ("ipv6",), kernel.ipv6_works, "whether IPv6 is on", "doctor.md#the-kernel"),
    Check(
        "masquerade",
        ("masquerade",),
        kernel.masquerade_works,
        "whether the kernel can masquerade, where `[host] masquerade` asks for it",
        "doctor.md#the-kernel",
    ),
    Check("conntrack", ("tracked",), kernel.table_fills, "the kernel's table of connections", "doctor.md#the-kernel"),
    Check(
        "clock",
        ("clock",),
        kernel.clock_works,
        "the time of day, and whether it is synchronised",
        "doctor.md#the-kernel",
    ),
    Check("offloads", ("host", "offloads"), links.joined, "LRO, and GRO of network cards", "doctor.md#interfaces"),
    Check("mtu", ("host", "mtus6"), links.sizes, "MTUs of device, interfaces and routes", "doctor.md#interfaces"),
    Check("pools", ("pools",), daemon.pools_fill, "whether ports run out", "monitoring.md"),
    Check("sessions", ("status",), daemon.table_fills, "whether the session table fills up", "monitoring.md"),
    Check(
        "dns64_port", ("taken",), names.free, "whether `[dns64] listen` is free, without a daemon", "doctor.md#names"
    ),
    Check(
        "dns64",
        ("made", "answer"),
        names.agreeing,
        "whether addresses are made under `pool6` (RFC 7050)",
        "doctor.md#names",
    ),
    Check(
        "pref64",
        ("announced", "answer"),
        advertisements.agreeing,
        "whether routers announce `pool6` (RFC 8781)",
        "doctor.md#names",
    ),
)
