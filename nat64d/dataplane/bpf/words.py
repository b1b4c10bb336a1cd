"""What goes wrong between daemon and kernel, in words."""

import errno
import os

PERMISSION = {errno.EPERM, errno.EACCES}


def words(error: Exception) -> str:
    """What went wrong, and what helps."""
    said = getattr(error, "said", "")
    if isinstance(error, OSError) and error.errno in PERMISSION and not said:
        needed = "it takes CAP_BPF and CAP_NET_ADMIN, which config/systemd/fastpath.conf gives to the service"
        return f"bpf(2) is refused ({os.strerror(error.errno or 0)}): {needed}"
    if isinstance(error, OSError):
        line = said.strip().splitlines()[-1:] or [""]
        return os.strerror(error.errno or 0) + (f"; the verifier: {line[0]}" if line[0] else "")
    return str(error)
