"""A mutant in a forked child, before the named tests that run its line; the first that fails has noticed it."""

import os
import resource
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import FunctionType

import coverage
import pytest
from _pytest.runner import runtestprotocol

from tests.case import KNOWN
from tests.mutants.mutations import Mutant
from tests.test_matrices import MATRICES, TEST_ID, path_of, rows

NOTICED, LIVES = 1, 0  # exit codes of a child
CPU = 10  # seconds of a child, beyond four times what its tests take: a mutant that runs for ever is stuck
WAIT = 60  # … of the clock: or one that waits for ever


def named(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that a row of a matrix names, by function or by case."""
    names = {id_ for matrix in MATRICES for row in rows(matrix) for id_ in TEST_ID.findall(row.cell)}
    paths = {file: path_of(file) for file, _ in names}
    wanted = {(paths[file], name) for file, name in names}
    return [item for item in items if any(id_ in wanted for id_ in _ids(item))]


def _ids(item: pytest.Item) -> Iterable[tuple[str, str]]:
    file, name = item.nodeid.split("::", 1)
    function, _, case = name.partition("[")
    yield file, function
    parts = case.removesuffix("]").split("-")
    for first in range(len(parts)):
        for last in range(first, len(parts)):
            yield file, "-".join(parts[first : last + 1])


class Hunt:
    """Tests, the lines of the product that each runs and what it takes."""

    def __init__(self, items: list[pytest.Item]) -> None:
        self.items = {item.nodeid: item for item in items}
        self.seconds: dict[str, float] = {}
        self.covers: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.kills: dict[FunctionType, Counter[str]] = defaultdict(Counter)

    def measure(self) -> list[str]:
        """Run every test once; those that fail are left out, and returned."""
        watch = coverage.Coverage(data_file=None, source=["translator", "nat64d"], config_file=False)
        failed = []
        watch.start()
        for item in list(self.items.values()):
            watch.switch_context(item.nodeid)
            begin = time.process_time()
            if not _passes(item, None):
                failed.append(item.nodeid)
                del self.items[item.nodeid]
            self.seconds[item.nodeid] = time.process_time() - begin
        watch.switch_context("")
        watch.stop()
        data = watch.get_data()
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                self.covers[file, line] |= {each for each in contexts if each in self.items}
        return failed

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run its line, those first that have noticed others of its function, then the quick ones."""
        kills, file = self.kills[mutant.function], mutant.function.__code__.co_filename
        found = self.covers.get((file, mutant.line), set()) & self.items.keys()
        guarded = self.covers.get((file, mutant.guards), set())
        ranks: Counter[tuple[str, bool]] = Counter()
        order = {}
        for each in sorted(found, key=lambda each: (self.seconds[each], each)):
            kind = each.partition("[")[0], each in guarded
            order[each] = (-kills[each], ranks[kind], self.seconds[each])
            ranks[kind] += 1
        return sorted(found, key=order.__getitem__)

    def fate_of(self, mutant: Mutant, limit: float) -> str:
        """ "noticed", "stuck" (it runs for ever, or crashes) or "lives", before tests of `limit` seconds."""
        tests, total = [], 0.0
        for each in self.tests_of(mutant):
            total += self.seconds[each]
            if total > limit and tests:
                break
            tests.append(each)
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            _be(mutant, [self.items[each] for each in tests], writes, min(total, limit))
        os.close(writes)
        with os.fdopen(reads) as pipe:
            by = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == LIVES:
            return "lives"
        self.kills[mutant.function][by] += 1
        return "noticed" if os.WIFEXITED(status) else "stuck"


def _be(mutant: Mutant, items: list[pytest.Item], writes: int, seconds: float) -> None:
    """The child: the mutant in the place of its function, and the tests one after the other."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nowhere, each)
    resource.setrlimit(resource.RLIMIT_CPU, (int(4 * seconds + CPU),) * 2)
    signal.alarm(int(8 * seconds + WAIT))
    KNOWN.clear()  # settings and tables that the product has made
    mutant.function.__code__ = mutant.code
    try:
        for item, following in zip(items, [*items[1:], None], strict=True):
            if not _passes(item, following):
                os.write(writes, item.nodeid.encode())
                os._exit(NOTICED)
    except BaseException:  # noqa: BLE001  whatever a mutant brings about
        os._exit(NOTICED)
    os._exit(LIVES)


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    return not any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))
