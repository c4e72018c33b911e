"""Workers played by a test, so that it says when they answer."""

import asyncio
import json
import math
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from serve.dispatcher import Dispatcher
from serve.jobs import Job, cost

MANY = [float(n) for n in range(1000, 4000)]  # texts of one length


class FakeWorker:
    """A worker's end of the socket, played by the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, path: Path) -> "FakeWorker":
        worker = cls(*await asyncio.open_unix_connection(path))
        await worker.say(hello=0)
        message = await worker.hear()
        assert message["do"] == "load"
        await worker.say(loaded=message["folder"], error=None)
        assert await worker.hear() == {"do": "swap"}
        return worker

    async def say(self, **message: Any) -> None:  # noqa: ANN401
        text = json.dumps(message).encode()
        self.writer.write(struct.pack("!I", len(text)) + text)
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        (length,) = struct.unpack("!I", await self.reader.readexactly(4))
        return dict(json.loads(await self.reader.readexactly(length)))

    async def leave(self, dispatcher: Dispatcher) -> None:
        self.writer.close()
        while dispatcher.ready:
            await asyncio.sleep(0)

    async def texts(self) -> list[str]:
        return list((await self.hear())["texts"])

    async def answer(self, texts: list[str], model: str = "m") -> None:
        """Score each text by the number it is."""
        predictions = [["disaster", float(text), None] for text in texts]
        await self.say(predictions=predictions, model=model)


def play(
    folder: Path,
    scene: Callable[[Dispatcher, FakeWorker], Awaitable[None]],
    max_queue: int = 10_000,
    timeout: float = 30,
) -> None:
    async def whole() -> None:
        dispatcher = Dispatcher(folder / "workers.sock", folder / "first", max_queue, timeout)
        dispatcher.listen()
        async with dispatcher.running():
            await scene(dispatcher, await FakeWorker.connect(dispatcher.path))

    asyncio.run(asyncio.wait_for(whole(), 30))


def fit(room: int) -> int:
    """Return how many of MANY it takes to fill a batch or a turn."""
    return math.ceil(room / cost(str(MANY[0])))


def scores(job: Job) -> list[float]:
    return [prediction.probability for prediction in job.predictions()]


def ask(dispatcher: Dispatcher, *numbers: float) -> asyncio.Task[Job]:
    return asyncio.create_task(dispatcher.classify([str(n) for n in numbers]))
