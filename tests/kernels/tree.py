"""The kernel of this host's release of Debian, and busybox, unpacked once below build/: nothing of them is installed.

    build/kernels/tree      boot/vmlinuz-RELEASE, lib/modules/RELEASE, bin/busybox

`make clean` removes it; until then it stays the same kernel.
"""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.architecture import ROOT

PLACE = ROOT / "build/kernels"
TREE = PLACE / "tree"
NEWEST = "linux-image-amd64"  # depends on the kernel
PATIENCE = 900  # seconds that a download may take
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # with depmod and modprobe
FIRST = ("virtio_pci", "9pnet_virtio", "9p", "overlay")  # modules without which there are no files


class Kernel(NamedTuple):
    """An unpacked kernel."""

    release: str
    image: Path
    busybox: Path

    def modules(self) -> list[Path]:
        """The files of FIRST and of what they need, in the order to load them."""
        shown = output("modprobe", "-d", str(TREE), "-S", self.release, "-a", "--show-depends", *FIRST)
        return list(dict.fromkeys(Path(file) for file in re.findall(r"^insmod (\S+)", shown, re.MULTILINE)))


def kernel() -> Kernel:
    """The newest kernel that apt-get offered when this was first called."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:  # another run may be unpacking it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PLACE / "finished").exists():
            _unpack()
            (PLACE / "finished").touch()
    (modules,) = (TREE / "lib/modules").iterdir()
    return Kernel(modules.name, TREE / f"boot/vmlinuz-{modules.name}", TREE / "bin/busybox")


def _unpack() -> None:
    for old in (TREE, PLACE / "packages"):
        shutil.rmtree(old, ignore_errors=True)
    (PLACE / "packages").mkdir()
    TREE.mkdir()
    output("apt-get", "update")
    image = re.findall(r"Depends: (linux-image-\S+)", output("apt-cache", "depends", NEWEST))[0]
    output("apt-get", "download", image, "busybox-static", cwd=PLACE / "packages")
    for package in (PLACE / "packages").iterdir():
        output("dpkg-deb", "--extract", str(package), str(TREE))
    if not (TREE / "lib").exists():  # where /lib is a link
        (TREE / "lib").symlink_to("usr/lib")
    if not (TREE / "bin").exists():
        (TREE / "bin").symlink_to("usr/bin")
    for modules in (TREE / "lib/modules").iterdir():
        output("depmod", "-b", str(TREE), modules.name)
    shutil.rmtree(PLACE / "packages")


def output(*command: str, cwd: Path = PLACE) -> str:
    """What a command prints; raises AssertionError, with the end of what it says, if it fails."""
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{(done.stdout + done.stderr)[-2000:]}"
    return done.stdout
