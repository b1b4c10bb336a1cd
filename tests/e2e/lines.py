"""A client of `programs.py tcp_echo`: `python lines.py ADDRESS PORT CONNECTIONS OCTETS`, standard library only.

It sends lines of so many octets together over each of many connections at once, and prints a JSON object: how many
connections got back what they had sent.
"""

import asyncio
import json
import sys


async def one(address: str, port: int, said: bytes) -> bool:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(said)
    heard = await reader.readexactly(len(said))
    writer.close()
    await writer.wait_closed()
    return heard == said


async def main(address: str, port: str, connections: str, octets: str) -> None:
    said = b"".join(b"%d\n" % number * (1 + number % 90) for number in range(int(octets) // 200))
    echoed = await asyncio.gather(*(one(address, int(port), said) for _ in range(int(connections))))
    print(json.dumps({"sent": len(echoed), "received": sum(echoed)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
