"""What every test has around it: hypothesis profiles, memory that is quick to get, and no silent skips in CI."""

import ctypes
import gc
import os
import re

import pytest
from hypothesis import HealthCheck, settings

# A skip that CI accepts: the reason it gives (a regular expression) and why that is right there.
ALLOWED_SKIPS: dict[str, str] = {
    "the copy is made by compiled code": "in plain Python there is no other thread that would have to be kept away",
    "bpf\\(2\\) is refused": "a container may have no CAP_BPF; what the program does is tested in plain Python, too",
    "plain Python adds without the compiler": "what is tested is the code that the compiler makes of a sum",
    "promtool is not installed": "all of Prometheus comes with it; another test reads the same file by another parser",
    "kubectl is not installed": "no package of Debian has it; other tests read the same files",
    "KUBEBUILDER_ASSETS names no folder": "no package has one; the fake is held to the same contract",
    "nothing is checked": "code that is compiled without bounds checks; plain Python and test-bounds run these tests",
    "nothing is compiled in plain Python": "what is tested is what becomes machine code, and where it is kept",
}

IN_PLAIN_PYTHON = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"
WITH_BOUNDS_CHECKS = os.environ.get("NUMBA_BOUNDSCHECK", "0") == "1"
# Whether this pass looks at the tables after every packet of a case. The others end with the same tables or raise: an
# IndexError the one, an OverflowError or a warning the other.
LOOKS = not IN_PLAIN_PYTHON and not WITH_BOUNDS_CHECKS

# The first example of a property may have to compile what it tests: neither a deadline nor "too slow" means anything.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("plain-python", settings.get_profile("suite"), max_examples=30)
settings.register_profile("bounds", settings.get_profile("suite"), max_examples=50)
PROFILE = "plain-python" if IN_PLAIN_PYTHON else "bounds" if WITH_BOUNDS_CHECKS else "suite"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", PROFILE))

# Otherwise glibc makes tables from those of the test before, and clears 20 MB that fresh pages have as zeros.
M_MMAP_THRESHOLD, MIB = -3, 1 << 20
ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MIB)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--warm", action="store_true", help="compile before the first test what most tests call")


def pytest_collection_finish(session: pytest.Session) -> None:
    """In the first test that calls it, the compiler would count against the time that a test has. And what the modules
    hold stays: the collector need not look through it again and again."""
    if session.config.getoption("--warm"):
        from tests.case import warm

        warm()
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipsFail(), "skips-fail")


class SkipsFail:
    """In CI a skip is a failure, unless ALLOWED_SKIPS has it: what was never run must not look green."""

    def __init__(self) -> None:
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Remember `report` when it is a skip that nobody has allowed; an expected failure is not a skip."""
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
                self.unexpected.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unexpected:
            terminalreporter.section("skipped, which CI does not accept (tests/conftest.py, ALLOWED_SKIPS)", red=True)
            for line in self.unexpected:
                terminalreporter.line(line)
