"""The fast path on the kernel of this host's release of Debian (12: Linux 6.1), emulated; what runs in it are the
project's own tests. First they run here, which fills the cache of machine code from which the guest takes it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nat64d.cli.lab import NAT64D
from tests.architecture import ROOT
from tests.kernels.guest import GENERIC, run
from tests.kernels.tree import PATH, Kernel, kernel

COMPILING = 1800  # seconds on a busy machine
PATIENCE = 3600  # seconds for what runs in the guest, which is 10 to 30 times as slow as the host
LIMIT = COMPILING + PATIENCE
TOOLS = ("qemu-system-x86_64", "setpriv", "cpio", "depmod", "modprobe", "apt-get", "dpkg-deb")
PYTEST = ("-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", "-o", f"timeout={PATIENCE}")
# The compiler is no part of a kernel.
PROGRAM = ("tests/nat64d/test_bpf.py", "tests/translator/test_fastpath.py", "-k", "not same_object and not compiler")
DAEMON = ("tests/e2e/test_fastpath.py", "-k", "filter or transfer_goes_through")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]


def here(*command: str) -> None:
    """Run a command on this kernel, with the machine code that the guest will have."""
    environment = {**os.environ, **GENERIC}
    subprocess.run(command, cwd=ROOT, env=environment, timeout=COMPILING, check=True)


@pytest.fixture(scope="module")
def debian() -> Kernel:
    """The kernel; skip, with the reason, where there is none."""
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]:
        pytest.skip(f"Not installed: {', '.join(missing)}.")
    if os.geteuid() != 0:
        pytest.skip("in the guest all is root's, and code that belongs to another user is not taken")
    here(*NAT64D, "compile")
    return kernel()


def inside(debian: Kernel, directory: Path, *arguments: str) -> str:
    """Run Python in the guest; returns what it says."""
    ended = run(debian, directory, shlex.join(["python", *arguments]), PATIENCE)
    print(ended.said)
    assert ended.code == 0, ended.said[-8000:]
    return ended.said


def test_a_command_that_fails_is_seen(debian: Kernel, tmp_path: Path) -> None:
    ended = run(debian, tmp_path, "uname -r; exit 3", PATIENCE)
    assert (ended.code, ended.said.splitlines().count(debian.release)) == (3, 1), ended.said


def test_how_much_the_verifier_looks_at(debian: Kernel, tmp_path: Path) -> None:
    said = inside(debian, tmp_path, "-m", "tests.kernels.verified")
    assert f"Linux {debian.release}\n" in said


def test_the_program_is_accepted_and_makes_of_packets_what_the_pipeline_makes(debian: Kernel, tmp_path: Path) -> None:
    here(sys.executable, *PYTEST, *PROGRAM)
    said = inside(debian, tmp_path, *PYTEST, *PROGRAM)
    assert re.search(r"^=+ \d+ passed, \d+ deselected in ", said, re.MULTILINE)  # and nothing was skipped


def test_the_daemon_translates_in_the_kernel(debian: Kernel, tmp_path: Path) -> None:
    said = inside(debian, tmp_path, *PYTEST, *DAEMON)
    assert re.search(r"^=+ 2 passed, \d+ deselected in ", said, re.MULTILINE)
