"""What the kernel has and allows: the TUN driver, IPv6, masquerade, connection tracking, the clock."""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import NamedTuple

from nat64d.config.models import Config
from nat64d.doctor.finding import Said, error, note, warning
from nat64d.doctor.look import NEEDS_ROOT, Look, UnseenError
from nat64d.host import sysctl
from nat64d.host.changes import LOWEST_IPV6
from nat64d.host.rtnetlink import Device
from nat64d.host.standing import Standing
from nat64d.host.wanted import masqueraded

TUN = Path("/dev/net/tun")
TUNGETFEATURES = 0x800454CF  # linux/if_tun.h, and the IFF_* below
VNET_HDR, MULTI_QUEUE = 0x4000, 0x0100
TIMEOUT = 10.0  # seconds
IPV6 = "net/ipv6/conf/all/disable_ipv6"
COUNT, MOST = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
FULL = 0.8  # of the connection table
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
DAY = 86400

# The rule of the masquerade, in a table that is not made: --check only asks the kernel.
RULE = "table ip nat64d_check { chain c { type nat hook postrouting priority srcnat; masquerade; }; }"


class Clock(NamedTuple):
    """The time of day, that of the installation (seconds since the epoch), and whether the kernel counts its clock as
    synchronised."""

    now: float
    installed: float
    synchronised: bool


# ---- read


def tun_features(_look: Look) -> int:
    """The bits IFF_* that the TUN driver knows; 0 without the device node."""
    try:
        node = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
            return 0
        raise
    try:
        features: int = struct.unpack("I", fcntl.ioctl(node, TUNGETFEATURES, bytes(4)))[0]
    finally:
        os.close(node)
    return features


def ipv6(_look: Look) -> str | None:
    """disable_ipv6 of all interfaces; None where the kernel runs without IPv6."""
    return sysctl.read(IPV6)


def masquerade(look: Look) -> str:
    """Why the kernel cannot masquerade; "" if it can, or does so already, or need not."""
    if not masqueraded(look.config) or look["answer"].status:
        return ""
    if which("nft") is None:
        raise UnseenError("there is no program nft (package nftables)")
    if os.geteuid() != 0:
        raise UnseenError(NEEDS_ROOT)
    command = ("nft", "--check", RULE)
    done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT, text=True)  # noqa: S603  no shell
    return done.stderr.strip().partition("\n")[0] if done.returncode else ""


def tracked(_look: Look) -> tuple[int, int] | None:
    """How many connections are tracked, and how many may be; None where none are."""
    count, most = sysctl.read(COUNT), sysctl.read(MOST)
    return (int(count), int(most)) if count and most else None


def clock(_look: Look) -> Clock:
    """The clock of the kernel."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))  # all zero: asks only
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return Clock(time.time(), Path(__file__).stat().st_mtime, state != TIME_ERROR)


# ---- judged


def tun_driver(config: Config, features: int) -> Iterator[Said]:
    """/dev/net/tun, and what nat64d asks of it."""
    if not features:
        yield error(f"There is no {TUN}. Run 'modprobe tun', or pass the device {TUN} to this container.")
        return
    if not features & VNET_HDR:
        yield error("The TUN driver of this kernel has no IFF_VNET_HDR (Linux 2.6.27). Use a newer kernel.")
    if not features & MULTI_QUEUE and config.tun.queues != 1:
        yield error("The TUN driver of this kernel has a single queue (before Linux 3.8). Set [tun] queues = 1.")


def tun_device(config: Config, there: Standing) -> Iterator[Said]:
    """A device of that name that exists."""
    name, device = config.tun.name, there.device
    if device is None:
        return
    if device.kind != "tun":
        kind = f"a {device.kind} device" if device.kind else "a network card"
        yield error(f"{name} is {kind}, not a TUN device. Choose another [tun] name, or run 'ip link del {name}'.")
    elif device.mtu < LOWEST_IPV6:
        yield error(
            f"{name} has MTU {device.mtu}, and below {LOWEST_IPV6} a device has no IPv6. "
            f"Run 'ip link set {name} mtu {config.tun.mtu}'."
        )
    elif _too_few_queues(config, device):
        yield error(
            f"{name} exists with a single queue, and [tun] queues = {config.tun.queues}. Set that to 1, or run "
            f"'ip tuntap del dev {name} mode tun && ip tuntap add dev {name} mode tun multi_queue'."
        )


def _too_few_queues(config: Config, device: Device) -> bool:
    return config.tun.queues != "auto" and config.tun.queues > 1 and not device.multi_queue


def ipv6_works(_config: Config, disabled: str | None) -> Iterator[Said]:
    """IPv6 in the kernel, and on its interfaces."""
    if disabled is None:
        yield error("This kernel runs without IPv6: remove ipv6.disable=1 from its command line and reboot.")
    elif disabled != "0":
        yield error(
            f"IPv6 is off on every interface ({sysctl.name(IPV6)} = {disabled}), and their addresses are gone. "
            f"Run '{sysctl.command([(IPV6, '0')])}', then set them up again."
        )


def masquerade_works(_config: Config, why_not: str) -> Iterator[Said]:
    """nf_tables and its masquerade, where [host] masquerade asks for it."""
    if why_not:
        yield error(f"The kernel cannot masquerade ({why_not}). Run 'modprobe nft_masq', or set [host] masquerade.")


def table_fills(_config: Config, tracked: tuple[int, int] | None) -> Iterator[Said]:
    """The table of connection tracking, where nftables or Docker track what is forwarded."""
    if tracked and tracked[0] >= FULL * tracked[1]:
        count, most = tracked
        said = error if count >= most else warning
        yield said(
            f"The kernel tracks {count:,} connections of {most:,} at most, and drops the packets of any more, whatever "
            f"nat64d has free. Run '{sysctl.command([(MOST, str(2 * most))])}'."
        )


def clock_works(config: Config, clock: Clock) -> Iterator[Said]:
    """For certificates of upstream servers, and for the times in logs; sessions do not depend on it."""
    encrypted = config.dns64 is not None and any(str(server).startswith("tls://") for server in config.dns64.upstream)
    remedy = "Run 'timedatectl set-ntp true', or start another NTP client."
    if clock.now < clock.installed - DAY:
        behind = round((clock.installed - clock.now) / DAY)
        yield (error if encrypted else warning)(
            f"The clock is {behind:,} days before the time that nat64d was installed at: no certificate is valid "
            f"then, and logs are of no use. {remedy}"
        )
    elif not clock.synchronised:
        yield note(f"The clock is not synchronised, so far as the kernel knows. {remedy}")
