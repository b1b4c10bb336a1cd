"""The way of a packet, recorded: the pipeline's own functions, run in plain Python with every call noted.

There is no second walk. A Recorder makes copies of the translator's functions from their own code (plain.py); in the
modules of WALK each name of a function of the translator stands for a copy that notes its call. So a step that is
new in the pipeline is recorded without further work, and nothing is compiled for an explanation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from translator.plain import Copies
from translator.tables.gateway import Gateway
from translator.tables.layout import NONE
from translator.tables.records import Record

# The modules whose calls are noted.
WALK = (
    "translator.pipeline",
    "translator.examine",
    "translator.front6",
    "translator.fragments.datagrams",
    "translator.packet.answers",
    "translator.packet.icmp_error",
    "translator.session.affinity",
    "translator.session.filtering",
    "translator.session.services",
    "translator.session.sessions",
    "translator.static.mapping",
)
RESULT = -1
# Functions about one record: the table it is in, and where its number stands: an argument, or the (last) result.
ROWS = {
    "find_session4": ("sessions", RESULT),
    "find_session6": ("sessions", RESULT),
    "create_session": ("sessions", RESULT),
    "touch": ("sessions", 2),
    "living_bib": ("bibs", RESULT),
    "create_bib": ("bibs", RESULT),
    "admit_fragment": ("fragments", RESULT),
}


@dataclass
class Call:
    """One call of a function of the translator: what it was given, what it gave back, and the calls it made."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: Any = None
    calls: list["Call"] = field(default_factory=list)
    before: Record | None = None  # copies of the record it is about
    after: Record | None = None
    octets: bytes = b""  # of the packet, for `parse`

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    def find(self, *names: str) -> Iterator["Call"]:
        """The calls of these functions below this one, in order."""
        for call in self.calls:
            if call.name in names:
                yield call
            yield from call.find(*names)

    def first(self, name: str) -> "Call | None":
        """The first call of a function below this one."""
        return next(self.find(name), None)


class Recorder(Copies):
    """Copies of the translator's functions that note their calls; each recorder has its own.

    `walk`: the modules whose calls are noted.
    """

    def __init__(self, walk: Sequence[str] = WALK) -> None:
        super().__init__()
        self._walk = walk
        self.top = Call(len, ())  # below it: what is called from outside
        self._open = [self.top]

    def forget(self) -> None:
        """Give up calls and copies, which hold one another and the tables."""
        self.top.calls.clear()
        super().forget()

    def stand_in(self, function: FunctionType, module: str) -> Callable[..., Any]:
        """A copy; where the module's calls are noted, one that notes its calls."""
        return self._recorded(function) if module in self._walk else self.copy(function)

    def _recorded(self, function: FunctionType) -> Callable[..., Any]:
        copies: list[FunctionType] = []  # made at the first call: modules name one another's functions

        def record(*arguments: Any) -> Any:
            if not copies:
                copies.append(self.copy(function))
            call = Call(function, arguments, before=row_of(function.__name__, arguments, NONE))
            if function.__name__ == "parse":
                p, at, end = arguments
                call.octets = bytes(p[at:end])
            self._open[-1].calls.append(call)
            self._open.append(call)
            call.result = copies[0](*arguments)
            self._open.pop()
            call.after = row_of(function.__name__, arguments, call.result)
            return call.result

        return record


def row_of(name: str, arguments: tuple[Any, ...], result: Any) -> Record | None:
    """A copy of the record that a call is about, if it is about one."""
    if name not in ROWS or not isinstance(arguments[0], Gateway):
        return None
    table, place = ROWS[name]
    number = arguments[place] if place != RESULT else result[-1] if isinstance(result, tuple) else result
    row: Record | None = getattr(arguments[0].tables, table)[number].copy() if number != NONE else None
    return row
