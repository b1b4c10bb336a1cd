"""End to end: nat64d between kernel stacks, real programs at both ends, everything in namespaces of the test's own."""

import os
import sys

from nat64d.cli import lab

if os.environ.get("NAT64D_E2E_FASTPATH"):  # `make e2e-fastpath`
    lab.NAT64D = (sys.executable, "-m", "tests.e2e.with_fastpath")
