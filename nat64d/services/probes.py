"""One question to an endpoint: does it take a connection (TCP), does it answer a request (HTTP)."""

import asyncio
import errno
import os
import socket
import struct

import aiohttp

from nat64d.config.services import Health
from nat64d.services.standing import Place

# LIMITS
LARGEST = 64 << 10  # octets of an answer that are read
GOOD = range(200, 400)  # statuses; redirections are not followed

LINGER = struct.pack("ii", 1, 0)  # struct linger: close sends RST, so that no connection waits for its end on our side


async def ask(place: Place, health: Health) -> str | None:
    """Why the endpoint does not serve, in a few words; None when it does. It takes `timeout` seconds at most."""
    try:
        async with asyncio.timeout(health.timeout):
            return await (_request(place, health) if health.kind == "http" else _connect(place))
    except TimeoutError:
        return f"no answer within {health.timeout:g} s"
    except OSError as error:
        return _words(error)


async def _connect(place: Place) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        await asyncio.get_running_loop().sock_connect(attempt, (str(place.address), place.port))


async def _request(place: Place, health: Health) -> str | None:
    url = f"http://[{place.address}]:{place.port}{health.path}"
    headers = {"Host": health.host} if health.host else {}
    connector = aiohttp.TCPConnector(force_close=True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            left = LARGEST
            async for octets in response.content.iter_any():
                left -= len(octets)
                if left <= 0:
                    break
            return None if response.status in GOOD else f"HTTP {response.status}"
    except aiohttp.ClientOSError as error:
        return _words(error)
    except aiohttp.ClientError:
        return "no HTTP answer"


def _words(error: OSError) -> str:
    """What the system says, in lower case as the middle of a sentence."""
    if error.errno is None or error.errno in {errno.ECONNRESET, errno.EPIPE}:
        return "connection closed"
    return os.strerror(error.errno).lower()
