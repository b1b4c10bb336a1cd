"""A machine with another kernel and the files of this host, emulated by qemu: it runs one command, and ends.

    run(kernel(), directory, "uname -r")

Its root is that of the host, read by 9p; what it writes stays in its memory. The processor is emulated, so that no
test needs /dev/kvm; its machine code is that for any processor (GENERIC).
"""

import lzma
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.architecture import ROOT
from tests.kernels.tree import PATH, PLACE, TREE, Kernel

PROCESSORS, MEMORY = 2, 3072  # MiB
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NAT64D_CACHE": str(PLACE / "code")}
QEMU = (
    # Ends with us, whatever way we do.
    *("setpriv", "--pdeathsig=KILL", "qemu-system-x86_64"),
    *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(PROCESSORS), "-m", str(MEMORY)),
    *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
    *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    *("-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off rdinit=/init"),
)


class Ended(NamedTuple):
    """How the command ended: its code, -1 if there is none in time; and the console."""

    code: int
    said: str


def run(kernel: Kernel, directory: Path, command: str, patience: float) -> Ended:
    """Boot the kernel, and run a command of the shell in the project's directory."""
    given = [*QEMU, "-kernel", str(kernel.image), "-initrd", str(_first_files(kernel, directory, command))]
    console = directory / "console"
    with console.open("wb") as written:
        process = subprocess.Popen(given, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
    said = console.read_text("utf-8", "replace").replace("\r", "")
    ended = re.findall(r"^== ended (\d+)$", said, re.MULTILINE)
    return Ended(int(ended[-1]) if ended else -1, said)


def _first_files(kernel: Kernel, directory: Path, command: str) -> Path:
    """The file system that the kernel begins with."""
    files = directory / "files"
    for name in ("bin", "proc", "modules", "host", "memory", "root"):
        (files / name).mkdir(parents=True)
    shutil.copy(kernel.busybox, files / "bin/busybox")
    _write(files / "init", Path(__file__).with_name("init").read_text("utf-8"))
    for number, module in enumerate(kernel.modules()):
        octets = module.read_bytes()
        name = f"{number:02d}-{module.name.removesuffix('.xz')}"
        (files / "modules" / name).write_bytes(lzma.decompress(octets) if module.suffix == ".xz" else octets)
    modprobe = shlex.join(["/usr/bin/env", f"PATH={PATH}", "modprobe", "-d", str(TREE)])
    _write(files / "modprobe", f'#!/bin/busybox sh\nexec /bin/busybox chroot /root {modprobe} "$@"\n')  # for the kernel
    _write(files / "command", f"{_environment()}cd {shlex.quote(str(ROOT))}\nip link set lo up\n{command}\n")
    archive = directory / "initramfs"
    names = "\n".join(str(file.relative_to(files)) for file in sorted(files.rglob("*")))
    with archive.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), stdout=out, cwd=files, check=True)
    return archive


def _environment() -> str:
    python = str(Path(sys.executable).parent)
    values = {"PATH": f"{python}:{PATH}", "HOME": "/root", "LC_ALL": "C.UTF-8", "CI": "true", **GENERIC}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _write(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")
    file.chmod(0o755)
