"""Other servers of the same weights, for tests/bench/serve.py.

    python -m tests.bench.rivals replaced | by-hand

- replaced: the design that this project replaces: transformers, fp32, padded, one at a time.
- by-hand: the strongest plain rival: batches in its own process, with this project's engine.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

BATCH = 64
LENGTH = 128  # tokens


class Tweet(BaseModel):
    text: str


class Tweets(BaseModel):
    instances: list[Tweet]


Answer = dict[str, object]


def replaced() -> FastAPI:
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    folder = os.environ["CHECKPOINT"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]", model_max_length=LENGTH
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    one_at_a_time = threading.Lock()
    app = FastAPI()

    @torch.no_grad()
    def classify(tweet: Tweet) -> Answer:
        inputs = tokenizer(tweet.text, padding="max_length", truncation=True, return_tensors="pt")
        with one_at_a_time:
            logits = model(inputs["input_ids"], inputs["attention_mask"]).logits
        probability = float(torch.softmax(logits, dim=-1)[0, 1])
        label = "disaster" if probability >= 0.5 else "not_disaster"
        return {"label": label, "probability": probability}

    @app.post("/predict")
    def predict(request: Tweet | Tweets) -> Answer:
        if isinstance(request, Tweet):
            return classify(request)
        return {"predictions": [classify(tweet) for tweet in request.instances]}

    return app


def by_hand() -> FastAPI:
    from locked.classifier import Classifier

    classifier = Classifier(Path(os.environ["MODEL_URI"]))
    queue: asyncio.Queue[tuple[list[str], asyncio.Future[list[float]]]] = asyncio.Queue()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as engine:
            while True:
                batch = [await queue.get()]
                while not queue.empty() and len(batch) < BATCH:
                    batch.append(queue.get_nowait())
                texts = [text for some, _ in batch for text in some]
                scores = await loop.run_in_executor(engine, classifier.probabilities, texts)
                probabilities = iter(scores.tolist())
                for some, answer in batch:
                    answer.set_result([next(probabilities) for _ in some])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/predict")
    async def predict(request: Tweet | Tweets) -> Answer:
        tweets = [request] if isinstance(request, Tweet) else request.instances
        answer: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        queue.put_nowait(([tweet.text for tweet in tweets], answer))
        answers: list[Answer] = [
            {"label": classifier.label(p), "probability": p} for p in await answer
        ]
        return answers[0] if isinstance(request, Tweet) else {"predictions": answers}

    return app


if __name__ == "__main__":
    server = {"replaced": replaced, "by-hand": by_hand}[sys.argv[1]]
    uvicorn.run(server(), port=int(os.environ["PORT"]), access_log=False)
