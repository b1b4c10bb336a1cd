"""End to end: nat64d between kernel stacks, real programs at both ends, everything in namespaces of the test's own."""

import os
import sys

from nat64d.cli import lab

WITH_FASTPATH = bool(os.environ.get("NAT64D_E2E_FASTPATH"))  # `make e2e-fastpath`
if WITH_FASTPATH:
    lab.NAT64D = (sys.executable, "-m", "tests.e2e.with_fastpath")
