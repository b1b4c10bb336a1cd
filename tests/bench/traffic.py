"""What comes out: datagrams counted at an interface, TCP streams by iperf3, CPU time of a process."""

import json
import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from nat64d.cli.lab import Namespace

ETHERNET, IPV6, IPV4, UDP = 14, 40, 20, 8  # octets of header

Address = IPv4Address | IPv6Address


def datagrams(octets: int, frames: int, header: int, payload: int) -> float:
    """Datagrams in so many frames, each of which may be a GSO super-frame: one header before several payloads."""
    return (octets - frames * header) / payload


def measure_tcp(client: Namespace, target: Address, streams: int, reverse: bool, seconds: float, omitted: int) -> float:
    """Bits/s of payload received by iperf3, after `omitted` seconds that do not count. RuntimeError with its own
    sentence when it fails."""
    arguments = f"iperf3 -c {target} -t {seconds:g} -O {omitted} -P {streams} -J {'-R' if reverse else ''}".split()
    done = client.run(*arguments, check=False, timeout=seconds + omitted + 20)
    report = json.loads(done.stdout or "{}")
    if "error" in report or "end" not in report:
        raise RuntimeError(f"iperf3 to {target}: {report.get('error') or done.stderr.strip()}")
    return float(report["end"]["sum_received"]["bits_per_second"])


def process_cpu(pid: int) -> float:
    """Seconds of CPU, user and system, that a process and its threads have used. proc(5), /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
