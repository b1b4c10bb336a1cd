"""What the daemon serves beside the packets: the API, the name server, another configuration.

Where packets wait already for a process that goes on with their device, this comes after them: what it takes is slow to
import.
"""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from nat64d.config.defaults import BUILT_IN
from nat64d.control.unixsocket import Access
from nat64d.gateway.state import Live

if TYPE_CHECKING:
    from nat64d.control.api import Server
    from nat64d.gateway.reload import Reload

log = logging.getLogger("nat64d")


class Servers:
    """`open` starts them, once; from then on there is `reload`."""

    def __init__(self, live: Live, path: Path | None, again: asyncio.Event) -> None:
        """As Reload: `path` is the file given to the daemon, `again` asks for a reload."""
        self._live, self._path, self._again = live, path, again
        self.name = str(path or BUILT_IN)
        self._server: Server | None = None
        self.reload: Reload | None = None

    async def open(self) -> "Reload":
        """Start what is not started yet. Raises SocketError."""
        from nat64d.control.api import serve  # noqa: PLC0415
        from nat64d.control.connections import quiet_about_descriptors  # noqa: PLC0415
        from nat64d.dns64.service.supervisor import NameServer  # noqa: PLC0415
        from nat64d.gateway.reload import Reload  # noqa: PLC0415

        if self.reload is None:
            live, api = self._live, self._live.config.api
            asyncio.get_running_loop().set_exception_handler(quiet_about_descriptors(log))
            access = Access(int(api.mode, 8), api.group)
            self.reload = Reload(live, self._path, live.log.set_up, self._again)
            self._server = await serve(live, api.socket, api.http, api.hosts, access)
            if live.config.dns64:
                live.nameserver = NameServer(live.config, live.sockets)
                await live.nameserver.start()
        return self.reload

    async def close(self) -> None:
        """Stop them."""
        if self._server:
            await self._server.close()
        if self._live.nameserver:
            await self._live.nameserver.stop()
