"""The LitServe API: /predict answers from the locked model, in batches of many requests."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litserve as ls
from fastapi import Response
from litserve.transport.base import MessageTransport
from litserve.utils import LitAPIStatus, LoopResponseType

from locked.engines import Name
from serve import metrics
from serve.dispatcher import Dispatcher, Job
from serve.middleware import REQUEST_ID
from serve.prediction_log import PredictionLog, Said
from serve.schema import (
    InstanceAnswer,
    InstanceProblem,
    PredictAnswer,
    PredictRequest,
    Tweet,
    TweetAnswer,
    TweetsAnswer,
    WrongTweet,
)
from serve.worker import Worker

if TYPE_CHECKING:
    from locked.classifier import Classifier


class DisasterAPI(ls.LitAPI):
    """Answers /predict.

    A malformed request is refused (422) before it is queued, so that it cannot harm the others
    of its batch.
    """

    def __init__(self, path: Path, route: str, threads: int, engine: Name | None) -> None:
        """Serve at `route`; workers of `threads` threads connect to the socket at `path`."""
        super().__init__(api_path=route, loop=Worker())
        self.path = path
        self.threads = threads
        self.engine = engine

    def setup(self, device: str) -> None:
        """Do nothing: which model to load, the HTTP process says."""

    async def authorize(self) -> None:
        """Admit all: keys were looked at before. LitServe's own would take a thread a request."""

    def connect(self) -> socket.socket:
        """Connect a worker to the HTTP process."""
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # its whole path may be too long
            connection.connect(self.path.name)
        return connection

    def load(self, folder: Path) -> "Classifier":
        """Return the model in a folder, ready and held to its golden examples."""
        from locked.classifier import Classifier

        classifier = Classifier(folder, self.threads, self.engine)
        classifier.check()
        return classifier

    def decode_request(self, request: PredictRequest) -> PredictRequest:
        """Take the checked request as it is; FastAPI reads its schema from here."""
        return request

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Return P(disaster) of each text of a batch."""
        scores: list[float] = self.classifier.probabilities(texts).tolist()
        return scores

    def encode_response(self, output: PredictAnswer) -> PredictAnswer:
        """Take the answer as it is; FastAPI reads its schema from here."""
        return output


class Transport(MessageTransport):
    """What LitServe takes for its request queue and for the way back, in the HTTP process.

    Both ends are the dispatcher.
    """

    def __init__(self, dispatcher: Dispatcher, log: PredictionLog) -> None:
        self.dispatcher = dispatcher
        self.log = log
        self.answers: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, item: tuple[int, str, float, PredictRequest]) -> None:
        """Queue a request, as LitServe's handler hands it over.

        Raises:
            HTTPException: 429, the queue is full.

        """
        _, uid, _, request = item
        tweets = [request] if isinstance(request, Tweet) else request.instances
        texts = [tweet.text for tweet in tweets if not isinstance(tweet, WrongTweet)]
        request_id = REQUEST_ID.get()

        def done(job: Job) -> None:
            status = LitAPIStatus.ERROR if job.error else LitAPIStatus.OK
            response = job.error or answer(request, request_id, job, self.log)
            self.answers.put_nowait((uid, (response, status, LoopResponseType.REGULAR, None)))

        self.dispatcher.submit(texts or [""], done)  # all wrong: the answer names a model too

    def send(self, item: object, consumer_id: int) -> None:
        """Refuse: workers answer over their own socket."""
        raise NotImplementedError

    async def areceive(self, *_args: object, **_others: object) -> object:
        """Return the next answer."""
        return await self.answers.get()


def answer(request: PredictRequest, request_id: str, job: Job, log: PredictionLog) -> Response:
    """Return the answer to a request, and have it logged."""
    scored, now = zip(job.texts, job.predictions(), strict=True), time.time()
    tweets = [request] if isinstance(request, Tweet) else request.instances
    predictions: list[InstanceAnswer | InstanceProblem] = []
    logged: list[Said] = []
    for index, tweet in enumerate(tweets):
        own_id = request_id if isinstance(request, Tweet) else f"{request_id}-{index}"
        if isinstance(tweet, WrongTweet):
            problem = f"instances[{index}]: {tweet.error}"
            predictions.append(InstanceProblem.model_construct(error=problem, id=own_id))
            continue
        text, said = next(scored)
        metrics.PREDICTIONS.labels(said.label).inc()
        metrics.PROBABILITY.observe(said.probability)
        logged.append(Said(own_id, now, text, job.model, said.label, said.probability))
        predictions.append(
            InstanceAnswer.model_construct(
                label=said.label, probability=said.probability, id=own_id
            )
        )
    log.note(logged)
    only = predictions[0]
    body: PredictAnswer = (
        TweetAnswer.model_construct(
            label=only.label, probability=only.probability, model=job.model, id=own_id
        )
        if isinstance(request, Tweet) and isinstance(only, InstanceAnswer)
        else TweetsAnswer.model_construct(predictions=predictions, model=job.model)
    )
    return Response(body.model_dump_json(), media_type="application/json")
