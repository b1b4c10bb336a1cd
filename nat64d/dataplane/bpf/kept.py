"""The object of the program: shipped beside this file, as in a wheel, or kept beside the machine code in the compile
cache, or built by another process: what numba needs of memory to lower it is gone with that one, and packets do not
wait for it. Run as a module this builds the one that is shipped.
"""

import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from translator.jit import cache

BUILDER = Path(__file__).with_name("build.py")
# LIMITS
PATIENCE = 300.0  # seconds: it takes four on a quiet machine
UNSET = ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK")  # with them numba lowers other code, or none


class BuildError(Exception):
    """There is no object; says why."""


def file_of_object() -> Path:
    """Where the object is kept. The directory is named after the sources of translator/ already."""
    digest = cache.digest_of([BUILDER])
    return cache.cache_directory() / f"fastpath-{digest}-{version('numba')}-{version('llvmlite')}.bpf"


def file_beside() -> Path:
    """Where the object is shipped: named after the sources, so that one of other sources is not taken."""
    return BUILDER.with_name(f"fastpath-{cache.cache_directory().name}-{cache.digest_of([BUILDER])}.bpf")


def is_kept() -> bool:
    """Whether there is an object, so that none has to be built."""
    return file_beside().exists() or (file_of_object().exists() and not cache.distrust(cache.cache_directory()))


def kept_object() -> bytes:
    """The object; kept if it was not yet. Raises BuildError."""
    with suppress(OSError):
        return file_beside().read_bytes()
    file, trusted = file_of_object(), not cache.distrust(cache.cache_directory())
    if trusted:
        with suppress(OSError):
            return file.read_bytes()
    built = built_object()
    if trusted and cache.is_writable():
        part = file.with_name(f"{file.stem}.tmp.{os.getpid()}")
        with suppress(OSError):
            part.write_bytes(built)
            part.replace(file)
    return built


def built_object() -> bytes:
    """The object, built by another process. Raises BuildError."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    command = [sys.executable, "-m", "nat64d.dataplane.bpf.build"]
    try:
        done = subprocess.run(  # noqa: S603  no shell, and ourselves
            command, env=environment, capture_output=True, timeout=PATIENCE, check=True
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BuildError(lines[-1] if lines else f"the compiler ended with {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(str(error)) from None
    return done.stdout


if __name__ == "__main__":
    file_beside().write_bytes(built_object())
