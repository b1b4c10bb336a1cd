"""A run with attacks ends with their table."""

import pytest

from tests.e2e.attack import report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.OUTCOMES:
        terminalreporter.section("attacks: percent of what quiet hosts did, during the attack / in the second after it")
        for line in report.table(report.OUTCOMES):
            terminalreporter.line(line)
