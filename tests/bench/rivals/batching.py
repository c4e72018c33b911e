"""The strongest plain rival: FastAPI by hand, batching in process, with this project's engine."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from locked.classifier import Classifier

BATCH = 64


class Tweet(BaseModel):
    text: str


class Tweets(BaseModel):
    instances: list[Tweet]


Waiting = tuple[list[str], asyncio.Future[list[float]]]

classifier = Classifier(Path(os.environ["MODEL_URI"]))
waiting: asyncio.Queue[Waiting] = asyncio.Queue()


async def work() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as engine:
        while True:
            taken = [await waiting.get()]
            while not waiting.empty() and len(taken) < BATCH:
                taken.append(waiting.get_nowait())
            texts = [text for some, _ in taken for text in some]
            scores = (await loop.run_in_executor(engine, classifier.probabilities, texts)).tolist()
            for some, answer in taken:
                answer.set_result(scores[: len(some)])
                del scores[: len(some)]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(work())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Tweet | Tweets) -> dict[str, object]:
    texts = [request.text] if isinstance(request, Tweet) else [t.text for t in request.instances]
    answer: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
    waiting.put_nowait((texts, answer))
    answers = [{"label": classifier.label(p), "probability": p} for p in await answer]
    return dict(answers[0]) if isinstance(request, Tweet) else {"predictions": answers}


@app.get("/health")
async def health() -> str:
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False)
