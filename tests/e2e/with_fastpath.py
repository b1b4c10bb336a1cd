"""nat64d whose [fastpath] mode is "on" where its configuration does not say another one; `make e2e-fastpath` runs the
end-to-end tests with it. A configuration that no fast path can have goes without. With NAT64D_E2E_FASTPATH=clsact there
is no TCX, as before Linux 6.6.
"""

import errno
import os
import sys

from nat64d.cli.start import main
from nat64d.config import models


def switch_on() -> None:
    """Change the default."""
    models.FastPath.model_fields["mode"].default = "on"
    models.FastPath.model_rebuild(force=True)
    models.Config.model_fields["fastpath"].default = models.FastPath()
    models.Config.model_rebuild(force=True)


def excuse() -> None:
    """Let "on" be "auto" for what `refusal` objects to."""
    from nat64d.dataplane.bpf import fast, system

    def without_links(*_):  # type: ignore[no-untyped-def]
        raise system.SystemCallError(errno.EINVAL, "no TCX")

    if os.environ.get("NAT64D_E2E_FASTPATH") == "clsact":
        system.attach = without_links

    refusal, given = fast.refusal, fast.Fast.begin

    def begin(self, settings, tables):  # type: ignore[no-untyped-def]
        mode, self.mode = self.mode, "auto" if refusal(settings) else self.mode
        given(self, settings, tables)
        self.mode = mode

    fast.Fast.begin = begin  # type: ignore[method-assign]


if __name__ == "__main__":
    switch_on()
    if sys.argv[1:2] == ["run"]:
        excuse()
    main()
