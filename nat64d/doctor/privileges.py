"""What the daemon may do: the capabilities and open files of its process, and what the unit of systemd takes away."""

import os
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nat64d.config.addresses import split_listener
from nat64d.config.models import Config
from nat64d.doctor.daemon import Answer
from nat64d.doctor.finding import Said, error, note, warning
from nat64d.doctor.look import Look, UnseenError
from nat64d.host import sysctl

PROC = Path("/proc")
SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
UNIT = "nat64d.service"
TIMEOUT = 10.0  # seconds
NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13  # linux/capability.h
CAPABILITIES = {NET_ADMIN: "CAP_NET_ADMIN", NET_BIND_SERVICE: "CAP_NET_BIND_SERVICE", NET_RAW: "CAP_NET_RAW"}
FILES, FILES_OF_NAME_SERVER = 256, 1024  # open files: queues, listeners, clients of the API; a process of [dns64]
UNPRIVILEGED = "net/ipv4/ip_unprivileged_port_start"


class Process(NamedTuple):
    """A process: its number, the bits of its effective capabilities (capabilities(7)), how many files it may open, and
    whether it is the daemon's, not our own."""

    number: int
    capabilities: int
    files: int
    daemon: bool


class Setting(NamedTuple):
    """A setting that keeps nat64d from working if a unit has it, unless another setting has a path; and why."""

    name: str
    why: str
    unless: str = ""
    path: str = ""


SETTINGS = (
    Setting("PrivateDevices", "it has no /dev/net/tun", "BindPaths", "/dev/net/tun"),
    Setting("PrivateNetwork", "it has a network of its own, without the links of this host"),
    Setting("MemoryDenyWriteExecute", "compiled code cannot run"),
    Setting("ProtectKernelTunables", "it cannot turn forwarding on", "ReadWritePaths", "/proc/sys/net"),
)
STATES = ("Id", "LoadState", "ActiveState", "Result", "NeedDaemonReload", "User", "DynamicUser")
DENIED = ("IPAddressDeny", "IPAddressAllow")
ANY = "0.0.0.0/0"
TRIGGERS, SOCKET = "TriggeredBy", "nat64d.socket"  # the socket unit of UNIT opens the ports of the name server
SETS = ("AmbientCapabilities", "CapabilityBoundingSet")
FAMILIES, PACKET = "RestrictAddressFamilies", "AF_PACKET"
PROPERTIES = (
    *STATES,
    *SETS,
    *DENIED,
    TRIGGERS,
    FAMILIES,
    *filter(None, (name for row in SETTINGS for name in (row.name, row.unless))),
)


# ---- read


def process(look: Look) -> Process:
    """The process of the daemon; this one where there is none, which may be started the same way."""
    answered: Answer = look["answer"]
    daemon = answered.status is not None
    number = look["pid"] if daemon else os.getpid()
    if number == 0:
        raise UnseenError("the daemon runs in another container")
    folder = PROC / str(number)
    effective = re.search(r"^CapEff:\s*(\w+)$", (folder / "status").read_text("ascii", "replace"), re.MULTILINE)
    files = re.search(r"^Max open files\s+\w+\s+(\w+)", (folder / "limits").read_text("ascii"), re.MULTILINE)
    if not effective or not files:
        raise UnseenError(f"{folder} does not say")
    most = int(files[1]) if files[1].isdigit() else 1 << 30  # "unlimited"
    return Process(number, int(effective[1], 16), most, daemon)


def unit(look: Look) -> Mapping[str, str]:
    """The properties of the unit that the daemon is in, or of UNIT where there is no daemon; none where systemd does
    not run, or has no such unit."""
    answered: Answer = look["answer"]
    name = _unit_of(look["process"].number) if answered.status else UNIT
    if not SYSTEMD.is_dir() or name is None:
        return {}
    command = ("systemctl", "show", name, f"--property={','.join(PROPERTIES)}")
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT, text=True)  # noqa: S603
    except subprocess.SubprocessError as failure:
        raise UnseenError(f"systemctl does not answer ({failure})") from None
    properties = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return properties if properties.get("LoadState") == "loaded" else {}


def _unit_of(process: int) -> str | None:
    """The service that a process belongs to, by its control group; None if it was started otherwise."""
    groups = (PROC / str(process) / "cgroup").read_text("utf-8", "replace")
    found = re.search(r"/([^/\n]+\.service)$", groups, re.MULTILINE)
    return found[1] if found and not found[1].startswith("user@") else None


def needed(look: Look) -> list[int]:
    """The capabilities that the configuration needs, where systemd opens no ports for it."""
    answered: Answer = look["answer"]
    if answered.status:
        there = (answered.status.get("dns64") or {}).get("listening", ())
    else:
        try:
            there = look.config.dns64.listen if look.config.dns64 and SOCKET in look["unit"].get(TRIGGERS, "") else ()
        except UnseenError:
            there = ()
    return needed_for(look.config, there)


def needed_for(config: Config, there: Collection[str] = ()) -> list[int]:
    """The capabilities that a configuration needs if it is `there` that the name server listens already."""
    listen = [listener for listener in (config.dns64.listen if config.dns64 else ()) if listener not in there]
    binds = any(split_listener(listener)[1] < first_unprivileged() for listener in listen)
    raw = config.ra or announces(config)
    return [NET_ADMIN, *([NET_BIND_SERVICE] if binds else []), *([NET_RAW] if raw else [])]


def announces(config: Config) -> bool:
    """Whether there are addresses of services that neighbours are told of."""
    return bool(config.service) and config.services.announce == "neighbours"


def reaching(config: Config) -> list[str]:
    """What of a configuration has sockets that other hosts are to reach, or that reach them."""
    http = config.api.http
    return [
        *(["[dns64]"] if config.dns64 else []),
        *(['[clat] plat = "discover"'] if config.clat and not config.pool6 else []),
        *(["[log] ipfix"] if config.log.ipfix else []),
        *(["[ra]"] if config.ra else []),
        *(["[[service]] health"] if any(service.health for service in config.service) else []),
        *([f"[api] http = {http}"] if http and not split_listener(http)[0].is_loopback else []),
    ]


def first_unprivileged() -> int:
    """The lowest port that needs no capability."""
    return int(sysctl.read(UNPRIVILEGED) or 1024)


# ---- judged


def capabilities(_config: Config, one: Process, wanted: list[int]) -> Iterator[Said]:
    """CAP_NET_ADMIN for device, routes and parameters, CAP_NET_BIND_SERVICE for port 53, CAP_NET_RAW for [ra] and
    services."""
    missing = [CAPABILITIES[number] for number in wanted if not one.capabilities >> number & 1]
    if missing and one.daemon:
        yield error(
            f"The daemon (process {one.number}) is without {' and '.join(missing)}: it cannot set up again what other "
            "programs remove, not listen on port 53, or not tell neighbours of prefix or services. Run it as root, or "
            "by the unit of config/systemd/."
        )
    elif missing:
        yield note(
            f"This user is without {' and '.join(missing)}, which 'nat64d run' needs: run it as root, or by the unit."
        )


def open_files(config: Config, one: Process) -> Iterator[Said]:
    """The hard limit, which the daemon and its name server raise their own to."""
    most = FILES_OF_NAME_SERVER if config.dns64 else FILES
    if one.files < most:
        yield warning(
            f"{'The daemon' if one.daemon else 'A daemon started from here'} may open {one.files} files, and may need "
            f"{most}: connections are refused then. Set LimitNOFILE=65536 in its unit, or run 'ulimit -n 65536' before "
            "you start it."
        )


def of_unit(config: Config, properties: Mapping[str, str], wanted: list[int]) -> Iterator[Said]:
    """What the unit is in the way of; nothing without one."""
    name = properties.get("Id", UNIT)
    if properties.get("ActiveState") == "failed":
        why = properties.get("Result", "")
        yield error(f"{name} has failed ({why}). Its last lines say why: run 'journalctl -u {name} -n 30'.")
    if properties.get("NeedDaemonReload") == "yes":
        yield warning(f"{name} was changed on disk, and systemd does not know yet. Run 'systemctl daemon-reload'.")
    for row in SETTINGS:
        applies = config.host.sysctls or row.name != "ProtectKernelTunables"
        opened = bool(row.path) and row.path in properties.get(row.unless, "")
        if applies and not opened and properties.get(row.name) == "yes":
            yield error(f"{name} has {row.name}=yes: {row.why}. {_drop_in(name, row.name, 'no')}")
    denied, allowed = (properties.get(kind, "").split() for kind in DENIED)
    if ANY in denied and ANY not in allowed and (those := reaching(config)):
        yield error(
            f"{name} lets sockets reach this host alone, which is not enough for {', '.join(those)}. "
            f"{_drop_in(name, 'IPAddressAllow', 'any')}"
        )
    families = properties.get(FAMILIES, "")
    if announces(config) and families and (PACKET in families) == families.startswith("~"):
        yield error(f"{name} has {FAMILIES} without {PACKET}. {_drop_in(name, FAMILIES, PACKET)}")
    if name == UNIT and properties and NET_BIND_SERVICE in wanted and not _grants(properties, NET_BIND_SERVICE):
        wanted = [number for number in wanted if number != NET_BIND_SERVICE]
        yield error(
            f"{name} may not open the port of [dns64], and {SOCKET} does not. Run 'systemctl enable {SOCKET} && "
            f"systemctl restart {name}'."
        )
    for kind in _sets(properties) if properties else ():
        granted = properties.get(kind, "").upper().split()
        lost = [CAPABILITIES[number] for number in wanted if CAPABILITIES[number] not in granted]
        if lost:
            yield error(f"{name} has {kind} without {' and '.join(lost)}. {_drop_in(name, kind, ' '.join(lost))}")


def _sets(properties: Mapping[str, str]) -> tuple[str, ...]:
    """The sets that a capability must be in: of root, that which bounds it is enough."""
    root = properties.get("User") in {"", "root"} and properties.get("DynamicUser") != "yes"
    return SETS[1:] if root else SETS


def _grants(properties: Mapping[str, str], number: int) -> bool:
    """Whether a unit grants a capability."""
    return all(CAPABILITIES[number] in properties.get(kind, "").upper().split() for kind in _sets(properties))


def _drop_in(unit: str, name: str, value: str) -> str:
    """The command that adds a setting to a unit."""
    folder = f"/etc/systemd/system/{unit}.d"
    return (
        f'Run \'mkdir -p {folder} && printf "[Service]\\n{name}={value}\\n" > {folder}/{name}.conf && systemctl '
        f"daemon-reload && systemctl restart {unit}'."
    )
