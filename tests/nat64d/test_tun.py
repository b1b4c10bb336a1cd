"""The TUN device: how it is opened, what it does without, whom it refuses and in what words."""

import array
import errno
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import pytun

from nat64d.config.models import Tun as TunConfig
from nat64d.dataplane import tun as module
from nat64d.dataplane.tun import OFFLOADS, TUNSETOFFLOAD, TunError, open_tun
from tests.nat64d.netns import Namespace, fresh_namespace, ip

namespace = pytest.fixture(fresh_namespace)

TUNGETVNETHDRSZ = 0x800454D7
SIOCETHTOOL, ETHTOOL_GTSO = 0x8946, 0x1E
ALL = [name for names, _ in OFFLOADS for name in names]

CPUS = min(len(os.sched_getaffinity(0)), 8)
# Opens a device, says so, and waits for the kill.
HOLDER = """
import sys, time
from nat64d.config.models import Tun
from nat64d.dataplane.tun import open_tun
tun = open_tun(Tun(queues=int(sys.argv[1])))
print("open", flush=True)
time.sleep(60)
"""


def refused(**settings) -> str:
    """The sentence with which opening is refused."""
    with pytest.raises(TunError) as caught:
        open_tun(TunConfig(**settings))
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert "\n" not in sentence
    return sentence


def segments_tcp4(name: str) -> bool:
    """Whether the kernel may hand TCP/IPv4 segments larger than the MTU to the device."""
    value = array.array("I", [ETHTOOL_GTSO, 0])
    request = struct.pack("16sP8x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
    return value[1] == 1


def test_a_device_is_made_and_goes_with_close(namespace):
    tun = open_tun(TunConfig())
    assert (tun.name, tun.created, len(tun.fds)) == ("nat64", True, CPUS)
    assert "vnet_hdr on" in ip("-details", "link", "show", "nat64")
    tun.close()
    assert tun.fds == []
    assert "nat64" not in ip("link")
    tun.close()


def test_descriptors_do_not_block_and_are_not_inherited(namespace):
    tun = open_tun(TunConfig(queues=2))
    assert [(os.get_blocking(fd), os.get_inheritable(fd)) for fd in tun.fds] == [(False, False)] * 2
    assert [os.fstat(fd).st_rdev for fd in tun.fds] == [Path("/dev/net/tun").stat().st_rdev] * 2
    tun.close()


def test_packets_carry_a_header_of_ten_octets(namespace):
    tun = open_tun(TunConfig(queues=1))
    size = fcntl.ioctl(tun.fds[0], TUNGETVNETHDRSZ, bytes(4))
    assert struct.unpack("i", size) == (10,)
    ip("link", "set", "nat64", "up")
    ip("address", "add", "192.0.2.1/24", "dev", "nat64")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("192.0.2.2", 9))
        packet = read_until(tun.fds[0], 4)
    assert len(packet) == 10 + 20 + 8 + 1
    tun.close()


def read_until(fd: int, version: int) -> bytes:
    """The first packet of this IP version; the kernel may have sent others of its own."""
    for _ in range(20):
        packet = os.read(fd, 65536)
        if packet[10] >> 4 == version:
            return packet
    raise AssertionError("no such packet")


def test_this_kernel_grants_offloads_and_uses_them(namespace):
    tun = open_tun(TunConfig())
    assert {"csum", "tso4", "tso6"} <= set(tun.offloads) <= set(ALL)
    assert segments_tcp4("nat64")
    tun.close()


def test_offload_false_asks_for_none_and_keeps_the_header(namespace):
    tun = open_tun(TunConfig(offload=False))
    assert tun.offloads == []
    assert "vnet_hdr on" in ip("-details", "link", "show", "nat64")
    assert not segments_tcp4("nat64")
    tun.close()


@pytest.mark.parametrize(
    ("unknown", "granted"),
    [
        (0x60, ["csum", "tso4", "tso6", "tso_ecn"]),
        (0x08, ["csum", "tso4", "tso6", "uso4", "uso6"]),
        (0x04, ["csum", "tso4", "tso_ecn", "uso4", "uso6"]),
        (0x7F, []),
    ],
    ids=["without_uso", "without_ecn", "without_tso6", "with_none"],
)
def test_an_older_kernel_costs_only_what_it_does_not_know(namespace, monkeypatch, unknown, granted):
    kernel = fcntl.ioctl

    def older_kernel(fd, request, argument):
        if request == TUNSETOFFLOAD and argument & unknown:
            raise OSError(errno.EINVAL, "Invalid argument")
        return kernel(fd, request, argument)

    monkeypatch.setattr(module.fcntl, "ioctl", older_kernel)
    tun = open_tun(TunConfig())
    assert tun.offloads == granted
    assert segments_tcp4("nat64") == ("tso4" in granted)
    tun.close()


def test_each_queue_has_a_descriptor(namespace):
    tun = open_tun(TunConfig(queues=3))
    assert len(set(tun.fds)) == 3
    assert "multi_queue" in ip("-details", "link", "show", "nat64")
    tun.close()
    assert "nat64" not in ip("link")


@pytest.mark.parametrize("queues", [1, 2])
def test_a_second_nat64d_on_the_same_device_is_refused(namespace, queues):
    tun = open_tun(TunConfig(queues=queues))
    assert "nat64 is used by another nat64d" in refused(queues=queues)
    assert len(tun.fds) == queues  # the first goes on
    open_tun(TunConfig(name="nat64b", queues=queues)).close()
    tun.close()
    open_tun(TunConfig(queues=queues)).close()


def test_the_same_name_is_free_in_another_namespace(namespace):
    here, elsewhere = open_tun(TunConfig()), Namespace()
    with elsewhere:
        open_tun(TunConfig()).close()
    elsewhere.close()
    here.close()


@pytest.mark.parametrize("queues", [1, 2])
def test_kill_9_leaves_nothing_in_the_way(namespace, queues):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(queues)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"open\n"
            assert "used by another nat64d" in refused(queues=queues)
        finally:
            holder.send_signal(signal.SIGKILL)
    tun = open_tun(TunConfig(queues=queues))
    assert tun.created
    tun.close()


def left_behind(queues: int) -> list[int]:
    """The queues of a device that is gone but for them, as systemd's store has them."""
    tun = open_tun(TunConfig(queues=queues))
    left = [os.dup(fd) for fd in tun.fds]
    tun.close()
    return left


def number_of(name: str) -> str:
    """The number of a device, which another one of that name would not have."""
    return ip("link", "show", name).partition(":")[0]


@pytest.mark.parametrize("queues", [1, 2])
def test_queues_that_a_process_has_left_go_on(namespace, queues):
    left = left_behind(queues)
    number = number_of("nat64")
    tun = open_tun(TunConfig(queues=queues), left)
    assert (tun.fds, tun.left, tun.created, number_of("nat64")) == (left, True, True, number)
    assert tun.offloads == ALL or "csum" in tun.offloads
    assert [(os.get_blocking(fd), os.get_inheritable(fd)) for fd in tun.fds] == [(False, False)] * queues
    tun.close()
    assert "nat64" not in ip("link")


def test_those_that_are_not_what_is_wanted_are_closed(namespace):
    tun = open_tun(TunConfig(queues=1), left_behind(2))
    assert (tun.left, len(tun.fds)) == (False, 1)
    tun.close()
    for name in ("nat64b", "nat64"):
        left = [*left_behind(1), os.open("/dev/null", os.O_RDWR)]
        tun = open_tun(TunConfig(name=name, queues=2), left)
        assert (tun.left, tun.name) == (False, name)
        assert ip("link").count("nat64") == 1
        tun.close()


@pytest.mark.parametrize("queues", [1, 3])
def test_systemd_closes_its_copies_before_the_device_is_opened_with_other_queues(namespace, queues):
    left = left_behind(2)
    held = [os.dup(fd) for fd in left]  # by systemd, which closes them a moment after it was told
    number = number_of("nat64")

    def give_up() -> None:
        threading.Timer(0.05, lambda: [os.close(held.pop()) for _ in left]).start()

    tun = open_tun(TunConfig(queues=queues), left, give_up)
    assert (held, tun.left, len(tun.fds), number_of("nat64") != number) == ([], False, queues, True)
    tun.close()


def test_an_existing_device_is_used_as_it_is(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    ip("link", "set", "nat64", "mtu", "1400")
    ip("address", "add", "192.0.2.1/32", "dev", "nat64")
    tun = open_tun(TunConfig())
    assert not tun.created
    tun.close()
    assert "mtu 1400" in ip("link", "show", "nat64")
    assert "192.0.2.1/32" in ip("address", "show", "dev", "nat64")


def test_an_existing_device_is_given_back_without_offloads(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    tun = open_tun(TunConfig())
    assert segments_tcp4("nat64")
    tun.close()
    assert not segments_tcp4("nat64")


def test_offload_false_also_holds_for_a_device_left_with_offloads(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    killed = pytun.TunTapDevice(name="nat64", flags=module.FLAGS)
    fcntl.ioctl(killed.fileno(), TUNSETOFFLOAD, 0x07)
    killed.close()
    assert segments_tcp4("nat64")
    tun = open_tun(TunConfig(offload=False))
    assert not segments_tcp4("nat64")
    tun.close()


def test_an_existing_header_size_is_not_kept(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    other = pytun.TunTapDevice(name="nat64", flags=module.FLAGS)
    fcntl.ioctl(other.fileno(), module.TUNSETVNETHDRSZ, struct.pack("i", 12))
    other.close()
    tun = open_tun(TunConfig())
    assert struct.unpack("i", fcntl.ioctl(tun.fds[0], TUNGETVNETHDRSZ, bytes(4))) == (10,)
    tun.close()


@pytest.mark.parametrize(("queues", "opened"), [("auto", CPUS), (1, 1), (4, 4)])
def test_an_existing_device_of_several_queues_takes_any_number(namespace, queues, opened):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun", "multi_queue")
    tun = open_tun(TunConfig(queues=queues))
    assert len(tun.fds) == opened
    tun.close()


@pytest.mark.parametrize(("cpus", "opened"), [(1, 1), (3, 3), (64, 8)])
def test_auto_opens_a_queue_for_each_cpu_but_not_more_than_eight(namespace, monkeypatch, cpus, opened):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)))
    tun = open_tun(TunConfig())
    assert len(tun.fds) == opened
    assert tun.created
    tun.close()


def test_auto_takes_an_existing_device_of_one_queue_as_it_is(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    tun = open_tun(TunConfig())
    assert (len(tun.fds), tun.created) == (1, False)
    tun.close()


def test_an_existing_device_of_one_queue_does_not_take_two(namespace):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    sentence = refused(queues=2)
    assert "single queue" in sentence
    assert "ip tuntap add dev nat64 mode tun multi_queue" in sentence


@pytest.mark.parametrize("multi_queue", [False, True])
def test_a_device_another_program_has_open_is_refused(namespace, multi_queue):
    other = pytun.TunTapDevice(name="nat64", flags=module.FLAGS | (pytun.IFF_MULTI_QUEUE if multi_queue else 0))
    assert "nat64 cannot be opened, another program has it open" in refused()
    other.close()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("tuntap", "add", "dev", "nat64", "mode", "tap"), "nat64 is a tap device"),
        (("link", "add", "nat64", "type", "veth", "peer", "name", "other"), "nat64 is a veth device"),
    ],
)
def test_another_kind_of_device_is_refused(namespace, command, what):
    ip(*command)
    assert what in refused()


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOENT, "modprobe tun"),
        (errno.ENODEV, "modprobe tun"),
        (errno.EACCES, "CAP_NET_ADMIN"),
        (errno.E2BIG, "lower [tun] queues"),
        (errno.EINVAL, "choose another [tun] name"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_refusal_names_the_device_and_the_mend(namespace, monkeypatch, code, mend):
    def refuse(**_):
        raise pytun.Error(code, os.strerror(code))

    monkeypatch.setattr(module.pytun, "TunTapDevice", refuse)
    sentence = refused()
    assert "TUN device nat64 cannot be opened" in sentence
    assert mend in sentence


def test_without_the_capability_the_sentence_says_so(namespace):
    program = "from nat64d.config.models import Tun\nfrom nat64d.dataplane.tun import open_tun\nopen_tun(Tun())"
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    done = subprocess.run([*drop, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "nat64d.dataplane.tun.TunError: TUN device nat64 cannot be opened, "
        "no permission: run as root, or with CAP_NET_ADMIN and access to /dev/net/tun."
    )


def test_a_refusal_lets_go_of_the_name_and_of_half_opened_queues(namespace, monkeypatch):
    opened = []
    original = pytun.TunTapDevice

    def third_fails(**settings):
        if len(opened) == 2:
            raise pytun.Error(errno.E2BIG, "Argument list too long")
        opened.append(original(**settings))
        return opened[-1]

    monkeypatch.setattr(module.pytun, "TunTapDevice", third_fails)
    refused(queues=3)
    assert [device.fileno() for device in opened] == [-1, -1]
    monkeypatch.undo()
    open_tun(TunConfig(queues=3)).close()
