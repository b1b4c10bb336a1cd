"""What a start of the daemon waits for."""

import subprocess
import sys


def test_a_start_waits_for_nothing_that_only_developers_have_nor_for_scrapes():
    unwanted = {"coverage", "yaml", "prometheus_client"}
    code = (
        "import sys\nfrom nat64d.cli import start\n"
        "with start.imports():\n    import nat64d.gateway.run, nat64d.control.api\n"
        f"found = {unwanted} & set(sys.modules)\n"
        "import coverage\n"  # whoever wants it later has it
        "sys.exit(' '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
