"""What the handlers of a listener find in its application, and how they ask the gateway."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import web

from nat64d.control.history import Recorder
from nat64d.control.rows import Gateway
from nat64d.control.shared import Shared

GATEWAY = web.AppKey("GATEWAY", Gateway)
THREADS = web.AppKey("THREADS", ThreadPoolExecutor)
SHARED = web.AppKey("SHARED", Shared)
RECORDER = web.AppKey("RECORDER", Recorder)
FOLLOWING = web.AppKey("FOLLOWING", set[web.StreamResponse])  # answers that end when their reader does
WHOLE = web.AppKey("WHOLE", bool)  # whether all routes are served here, or only the public ones


async def in_thread(request: web.Request, function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of the gateway in a thread of the listener that the request came through."""
    return await asyncio.get_running_loop().run_in_executor(request.app[THREADS], partial(function, *arguments))
