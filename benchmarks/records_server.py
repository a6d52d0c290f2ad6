"""Answers each request for a page of records after 20 ms; prints its port."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys

from records import PAGE, page

DELAY = 0.02
CURSOR = b'"next_cursor":"%d"'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def main() -> None:
    pages = int(sys.argv[1]) // PAGE
    first, last = page(PAGE, "1"), page(PAGE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(EOFError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"[?&]cursor=(\d+)", head)
                number = int(found[1]) if found else 0
                body = last if number == pages - 1 else first.replace(b'"next_cursor":"1"', CURSOR % (number + 1))
                body = body.replace(b'"id":"accr_', b'"id":"accr_%d_' % number)
                await asyncio.sleep(DELAY)
                writer.write(HEAD % len(body) + body)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
