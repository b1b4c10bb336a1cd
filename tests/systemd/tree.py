"""A Debian tree with systemd, and nat64d in it from a wheel: made once, below build/, which `make clean` removes.

    build/systemd/tree      Debian as debootstrap leaves it, and /opt/nat64d with what nat64d depends on
    build/systemd/wheels    these packages, from PyPI, and nat64d itself, as it is now

The service finds its code compiled there. What is there already is not made again, but for nat64d. A tree that was not
finished is thrown away.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.architecture import ROOT
from translator.jit.cache import PACKAGE, digest_of

PLACE = ROOT / "build/systemd"
TREE, WHEELS = PLACE / "tree", PLACE / "wheels"
CACHE = TREE / "var/cache/private/nat64d"  # where DynamicUser= has /var/cache/nat64d
SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "iproute2", "nftables", "procps")
PATIENCE = 900  # seconds that a download, an installation or a compiler may take on a busy machine
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe")


class TreeError(Exception):
    """A command failed; its text is the end of what it said."""


def tree() -> Path:
    """The tree, with nat64d as it is now in /opt/nat64d. Raises TreeError."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:  # another run may be making it
        fcntl.flock(lock, fcntl.LOCK_EX)
        _debian()
        _nat64d()
        _compile()
    return TREE


def _nat64d() -> None:
    depends = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = TREE / "opt/nat64d/depends"
    if not stamp.exists() or stamp.read_text("ascii") != depends:
        for old in (WHEELS, CACHE):
            shutil.rmtree(old, ignore_errors=True)
        _pip_wheel()
        shutil.rmtree(TREE / "opt/nat64d", ignore_errors=True)
        _inside("python3 -m venv /opt/nat64d && /opt/nat64d/bin/pip install -q --no-index --find-links /wheels nat64d")
        stamp.write_text(depends, "ascii")
    else:
        for old in WHEELS.glob("nat64d-*.whl"):
            old.unlink()
        _pip_wheel("--no-deps")
        _inside("/opt/nat64d/bin/pip install -q --no-index --no-deps --force-reinstall /wheels/nat64d-*.whl")
    _units()


def _compile() -> None:
    """Fill the cache of the service, once for all machines; a test of a first start empties it in its own."""
    now = digest_of(sorted(PACKAGE.rglob("*.py")))
    for old in CACHE.glob("*"):
        if old.name != now:
            shutil.rmtree(old)
    CACHE.parent.mkdir(mode=0o700, exist_ok=True)
    _inside(f"NAT64D_CACHE=/{CACHE.parent.relative_to(TREE)} /opt/nat64d/bin/nat64d compile")


def _debian() -> None:
    finished = PLACE / "finished"
    if not finished.exists():
        shutil.rmtree(TREE, ignore_errors=True)
        say(f"Debian ({SUITE}) is unpacked below {PLACE}, once")
        # In a mount namespace of its own: /proc, which it mounts in the tree, is gone with it, however it ends.
        _run(
            "unshare",
            "--mount",
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            str(TREE),
        )
        shutil.rmtree(TREE / "var/cache/apt/archives", ignore_errors=True)
        finished.touch()


def _pip_wheel(*more: str) -> None:
    say(f"nat64d is made into a wheel{'' if more else ', with what it depends on'}")
    _run(sys.executable, "-m", "pip", "wheel", "-q", *more, "--wheel-dir", str(WHEELS), str(ROOT))


def _inside(script: str) -> None:
    _run(*NSPAWN, f"--directory={TREE}", f"--bind-ro={WHEELS}:/wheels", "/bin/sh", "-ec", script)


def _units() -> None:
    """Install as README says: the units, and the command where they look for it."""
    command = TREE / "usr/local/bin/nat64d"
    command.unlink(missing_ok=True)
    command.symlink_to("/opt/nat64d/bin/nat64d")
    for unit in (ROOT / "config/systemd").glob("nat64d*"):
        shutil.copy(unit, TREE / "etc/systemd/system")
        shutil.rmtree(TREE / f"etc/systemd/system/{unit.name}.d", ignore_errors=True)


def say(what: str) -> None:
    """Tell who waits."""
    print(f"== {what}", file=sys.stderr, flush=True)


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    if done.returncode != 0:
        raise TreeError(f"{command[0]} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
