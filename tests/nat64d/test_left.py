"""What a process has left to one that cannot use it: nothing of it stays on the host."""

import os
import socket
import subprocess
import sys

import pytest

from nat64d.dataplane.tun import open_tun
from nat64d.host.host import Host
from tests.nat64d.hosts import LOG, fixtures, journal, unusual_host
from tests.nat64d.netns import snapshot

namespace, server, text, config = fixtures()

# As systemd starts it, with one descriptor, whose number here is the first argument.
START = """
exec 3<&"$1"-
LISTEN_FDS=1 LISTEN_FDNAMES=tun LISTEN_PID=$$ exec "$2" -m nat64d run -c "$3"
"""


@pytest.mark.parametrize(
    ("mistake", "device", "code", "said"),
    [
        ("[nonsense]", "lo", 2, "nonsense"),
        ("", "lo", 1, "expected a prefix that is not routed elsewhere"),
        ("[host]\nroutes = false", "lo", 1, "lo is another kind of device"),
        ('[[pool4]]\naddresses = "192.0.2.1"\n[host]\nmasquerade = "late0"', "nat64", 1, "late0"),
    ],
    ids=["of_the_file", "on_the_host", "of_the_device", "on_the_host_while_packets_pass"],
)
def test_a_mistake_in_the_file_leaves_nothing_of_the_process_before(
    server, config, text, tmp_path, mistake, device, code, said
):
    unusual_host()
    before, file = snapshot(), tmp_path / "nat64d.toml"
    there = f'[tun]\nname = "{device}"\nqueues = 1\n[api]\nsocket = "{config.api.socket}"\n'
    file.write_text(f'pool6 = "64:ff9b::/96"\n{mistake}\n{there}')
    tun, host = open_tun(config.tun.model_copy(update={"queues": 1})), Host(config, "nat64", LOG)
    host.setup()
    host.leave()
    kept = os.dup(tun.fds[0])
    tun.close()
    assert journal(config).exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "RUNTIME_DIRECTORY": str(journal(config).parent)}
        manager.settimeout(60)
        command = ["bash", "-c", START, "bash", str(kept), sys.executable, str(file)]
        daemon = subprocess.Popen(command, env=os.environ | more, pass_fds=[kept], stderr=subprocess.PIPE, text=True)
        assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=tun"
    os.close(kept)
    _, complaint = daemon.communicate(timeout=60)
    assert (daemon.returncode, said in complaint) == (code, True), complaint
    assert not journal(config).exists()
    assert snapshot() == before
