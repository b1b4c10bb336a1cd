"""Kernel parameters by their path below /proc/sys, such as net/ipv4/ip_forward.

Slashes separate because an interface name may contain a dot. /proc/sys/net is that of the caller's network namespace.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path("/proc/sys")
FORWARD4 = "net/ipv4/ip_forward"
FORWARD6 = "net/ipv6/conf/all/forwarding"
LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"

Setting = tuple[str, str]  # key, value


def read(key: str) -> str | None:
    """The value in effect, or None if this kernel has no such parameter."""
    try:
        return (ROOT / key).read_text("ascii").strip()
    except FileNotFoundError:
        return None


def write(key: str, value: str) -> None:
    """Set a parameter; raises OSError if it is not writable, even when the value would not change."""
    (ROOT / key).write_text(value, "ascii")


def restore(key: str, value: str) -> None:
    """Set a parameter back, unless it already has the value or no longer exists; raises OSError."""
    if read(key) not in {None, value}:
        write(key, value)


def forwarding(tun: str) -> list[Setting]:
    """The parameters that must still be set, in this order, before packets from and to the device `tun` are forwarded.

    With accept_ra = 1 a host that forwards IPv6 ignores router advertisements and drops the default route it learned
    from them; accept_ra = 2 keeps both (Linux: Documentation/networking/ip-sysctl.rst).
    """
    settings = []
    if read(FORWARD6) != "1":
        for interface in _interfaces("ipv6"):
            listens = read(f"net/ipv6/conf/{interface}/accept_ra") == "1"
            if listens and interface not in {"all", "lo", tun} and read(f"net/ipv6/conf/{interface}/forwarding") == "0":
                settings.append((f"net/ipv6/conf/{interface}/accept_ra", "2"))
        settings.append((FORWARD6, "1"))
    elif read(f"net/ipv6/conf/{tun}/forwarding") != "1":
        settings.append((f"net/ipv6/conf/{tun}/forwarding", "1"))
    if read(FORWARD4) != "1":
        settings.append((FORWARD4, "1"))
    return settings


def watched(tun: str) -> list[str]:
    """The parameters that `not_forwarding`, `is_strict`, `has_ipv6` and `passed_by` judge by."""
    return [
        LIBERAL,
        disable_ipv6(tun),
        FORWARD4,
        FORWARD6,
        f"net/ipv4/conf/{tun}/forwarding",
        "net/ipv4/conf/all/rp_filter",
        f"net/ipv4/conf/{tun}/rp_filter",
    ]


def not_forwarding(parameters: Mapping[str, str | None], tun: str) -> list[str]:
    """Those of `watched` that keep the kernel from forwarding packets from and to the device `tun`."""
    needed = (FORWARD4, FORWARD6, f"net/ipv4/conf/{tun}/forwarding")
    return [key for key in needed if parameters.get(key) == "0"]


def disable_ipv6(tun: str) -> str:
    """The parameter that takes IPv6 from a device."""
    return f"net/ipv6/conf/{tun}/disable_ipv6"


def has_ipv6(parameters: Mapping[str, str | None], tun: str) -> bool:
    """Whether a device takes IPv6 addresses."""
    return parameters.get(disable_ipv6(tun)) != "1"


def is_strict(parameters: Mapping[str, str | None], tun: str) -> bool:
    """Whether packets of the device are dropped unless the route back to their source leads to it: the kernel applies
    the larger of two values, 1 means strict."""
    values = (parameters.get(f"net/ipv4/conf/{interface}/rp_filter") for interface in ("all", tun))
    return max((value or "0" for value in values), default="0") == "1"


def concerns_forwarding(key: str) -> bool:
    """Whether a parameter is one that is set, or overwritten, where forwarding is enabled."""
    return key == FORWARD4 or key.rpartition("/")[2] in {"forwarding", "accept_ra", "accept_redirects"}


def swept_along(key: str) -> list[Setting]:
    """The parameters, with their present values, that the kernel overwrites when `key` is written and that writing the
    old value of `key` does not restore."""
    if key not in {FORWARD4, FORWARD6}:
        return []
    family = "ipv4" if key == FORWARD4 else "ipv6"
    others = [f"net/{family}/conf/{interface}/forwarding" for interface in _interfaces(family) if interface != "all"]
    if key == FORWARD4:
        others.append("net/ipv4/conf/all/accept_redirects")
    own = read(key)
    return [
        (other, value) for other in others if (value := read(other)) is not None and (value != own or "all" in other)
    ]


def command(settings: Sequence[Setting]) -> str:
    """The `sysctl -w` command line that sets them all."""
    return " ".join(["sysctl -w", *(f"{name(key)}={value}" for key, value in settings)])


def name(key: str) -> str:
    """The key as `sysctl` takes it: with dots, or with slashes if an interface name contains a dot."""
    return key if "." in key else key.replace("/", ".")


def _interfaces(family: str) -> list[str]:
    return sorted(entry.name for entry in (ROOT / "net" / family / "conf").iterdir())
