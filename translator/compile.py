"""The jit decorator, and a compile cache that cannot lie.

numba's own cache does not notice a change in a file that a cached function calls into; here the cache directory is
named after a digest of this package's sources, so a changed source is another cache. Bounds checking changes the code
but not numba's cache key, hence its mark in the name.
"""

import hashlib
import os
from functools import partial
from pathlib import Path

import numba
import numpy as np

_PACKAGE = Path(__file__).parent


def cache_directory() -> Path:
    """Where compiled code is kept: $NAT64D_CACHE, else the user's cache directory."""
    root = os.environ.get("NAT64D_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    sources = b"".join(file.read_bytes() for file in sorted(_PACKAGE.rglob("*.py")))
    name = hashlib.sha256(sources).hexdigest()[:16] + ("-bounds" if numba.config.BOUNDSCHECK else "")
    return Path(root) / "nat64d" / name


COMPILED = not numba.config.DISABLE_JIT
numba.config.CACHE_DIR = str(cache_directory())
# Without the runtime there is no reference counting, and whatever would allocate does not compile.
jit = partial(numba.njit, cache=True, nogil=True, error_model="numpy", _nrt=False)
hot = partial(jit, forceinline=True)  # the way of every packet: called in one place or two, worth the larger code
int64, uint64 = np.int64, np.uint64
