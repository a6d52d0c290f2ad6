"""An ERP in a process of its own, with a ledger in a file: `python erp_process.py LEDGER` prints its port.

It takes JSON, a line for each request, and answers each with a line; or breaks the connection off, when it is told to.

    book      makes an entry; an upsert makes one for each record, or brings it up to date
    find      says under which reference the ledger shows a record
    behave    sets how it behaves: `Behaviour`
    ledger    shows the entries
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Behaviour:
    lose_request: float = 0.0
    """How probable it is that a request is not taken, and its connection breaks off."""
    lose_answer: float = 0.0
    """… that an entry is made, and the connection breaks off instead of an answer."""
    fail: float = 0.0
    """… that it says that it has booked nothing."""
    slow: float = 0.0
    """Seconds that an entry takes, whoever still waits for it then."""
    late: float = 0.0
    """The longest that an entry without an answer takes until it is shown."""
    refuse: list[str] = field(default_factory=list)
    """Records that it does not want."""


class ERP:
    def __init__(self, ledger: Path, seed: int) -> None:
        self.ledger = ledger
        self.entries = list[dict[str, Any]]()
        self.behaviour = Behaviour()
        self.random = random.Random(seed)
        self.requests = list[str]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # a worker that was killed
            while line := await reader.readline():
                answer = await self.answer(json.loads(line))
                if answer is None:
                    break
                writer.write(json.dumps(answer).encode() + b"\n")
        writer.transport.abort()

    async def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        match request.pop("op"):
            case "behave":
                self.behaviour = Behaviour(**request)
                return {}
            case "ledger":
                return {"entries": self.entries, "requests": self.requests}
            case "find":
                if self.random.random() < self.behaviour.lose_request:
                    return None
                now = asyncio.get_running_loop().time()
                shown = [each for each in self.entries if each["id"] == request["id"] and each["shown_at"] <= now]
                return {"reference": shown[0]["reference"] if shown else None}
        return await self.book(**request)

    async def book(self, id: str, content: str, *, upsert: bool) -> dict[str, Any] | None:  # noqa: A002
        self.requests.append(id)
        behaviour, chance = self.behaviour, self.random.random()
        if id in behaviour.refuse:
            return {"refused": "no such account"}
        if (chance := chance - behaviour.fail) < 0:
            return {"failed": "the period is closed"}
        if (chance := chance - behaviour.lose_request) < 0:
            return None
        lost = chance - behaviour.lose_answer < 0
        await asyncio.sleep(behaviour.slow)
        late = self.random.uniform(0, behaviour.late) if lost else 0.0
        reference = self.enter(id, content, late, upsert=upsert)
        return None if lost else {"reference": reference}

    def enter(self, record_id: str, content: str, late: float, *, upsert: bool) -> str:
        shown_at = asyncio.get_running_loop().time() + late
        for entry in self.entries if upsert else ():
            if entry["id"] == record_id:
                entry["content"] = content
                return str(entry["reference"])
        reference = f"JE-{len(self.entries) + 1}"
        entry = {"id": record_id, "reference": reference, "content": content, "shown_at": shown_at}
        self.entries.append(entry)
        with self.ledger.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return reference


async def main(ledger: Path, seed: int) -> None:
    server = await asyncio.start_server(ERP(ledger, seed).serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
