"""The code that the daemon calls all the time, compiled or not."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nat64d.dataplane.worker import run
from translator.session import draft, members
from translator.session.flush import end_those
from translator.session.log import read_on
from translator.session.restore import restore
from translator.tables.listing import copy_live, usage


class Code(NamedTuple):
    """The loop of a queue, and what the control plane looks at tables with."""

    run: Callable[..., Any]
    copy_live: Callable[..., Any]
    usage: Callable[..., Any]
    restore: Callable[..., Any]  # what is kept over a restart
    draft: Any  # what is kept over a reload: the functions of translator/session/draft.py
    read_on: Callable[..., Any]  # what the log of sessions is read with
    end_those: Callable[..., Any]  # what a flush ends sessions with
    members: Any  # what services change with: the functions of translator/session/members.py
    compiled: bool


COMPILED_CODE = Code(run, copy_live, usage, restore, draft, read_on, end_those, members, compiled=True)
