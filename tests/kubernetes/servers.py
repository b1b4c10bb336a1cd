"""The API servers that the contract is tested on: the fake one always, and real binaries where there are some.

KUBEBUILDER_ASSETS names a folder with `etcd` and `kube-apiserver`, as for the tests of others. No controller runs
beside them: slices are written as the controller of Kubernetes was seen to write them.
"""

import os
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

from tests.kubernetes.asking import BROKEN, Asker
from tests.kubernetes.fake.server import Fake

ASSETS = "KUBEBUILDER_ASSETS"
NEEDED = ("etcd", "kube-apiserver")
STARTS_IN = 60.0  # real seconds


class Server(Protocol):
    """`second`: how long one of its seconds takes."""

    second: float
    asker: Asker

    def kill(self) -> None:
        """End it as by SIGKILL."""

    def start(self) -> None:
        """Start it again, with what it had kept on its disk."""


class FakeServer:
    """The fake, as a server of the contract."""

    def __init__(self) -> None:
        self.fake = Fake()
        self.second = self.fake.second

    def __enter__(self) -> Self:
        self.fake.__enter__()
        self.asker = Asker(self.fake.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.__exit__()

    def kill(self) -> None:
        self.fake.kill()

    def start(self) -> None:
        self.fake.store.forget(keep=10)
        self.fake.start()


class RealServer:
    """etcd and kube-apiserver on loopback, of an IPv6-only cluster."""

    second = 1.0

    def __init__(self, assets: Path, folder: Path) -> None:
        self.assets, self.folder = assets, folder
        self.etcd, self.peer, self.port = (_free_port() for _ in range(3))
        self.api: subprocess.Popen[bytes] | None = None
        self.ending = ExitStack()
        self.asker = Asker(f"https://[::1]:{self.port}", "admin", ssl._create_unverified_context())

    def __enter__(self) -> Self:
        (self.folder / "tokens").write_text('admin,admin,1,"system:masters"\n')
        key = self.folder / "key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        client = f"http://127.0.0.1:{self.etcd}"
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls=http://127.0.0.1:{self.peer}",
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.close()

    def kill(self) -> None:
        assert self.api
        self.api.kill()
        self.api.wait()

    def start(self) -> None:
        self.api = self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd}",
            f"--secure-port={self.port}",
            "--bind-address=::1",
            f"--cert-dir={self.folder / 'certificates'}",
            "--service-cluster-ip-range=fd00:10:96::/112",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.folder / 'tokens'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'key'}",
            f"--service-account-signing-key-file={self.folder / 'key'}",
            "--disable-admission-plugins=ServiceAccount",
        )
        deadline = time.monotonic() + STARTS_IN
        while not self._is_ready():
            assert self.api.poll() is None, (self.folder / "kube-apiserver.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "kube-apiserver is not ready"
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.asker.get("/api/v1/namespaces/default").code == 200
        except (*BROKEN, ValueError):
            return False

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as output:
            process = subprocess.Popen([self.assets / program, *arguments], stdout=output, stderr=output)
        self.ending.callback(process.wait)
        self.ending.callback(process.kill)
        return process


def assets() -> Path | None:
    """Where the real binaries are; None if they are not."""
    folder = Path(os.environ.get(ASSETS) or "/nonexistent")
    return folder if all((folder / name).is_file() for name in NEEDED) else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
