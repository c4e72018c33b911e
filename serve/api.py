"""The LitServe API: requests in, answers of the locked model out, many requests a batch."""

import itertools
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import litserve as ls
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from serve.classifier import Classifier
from serve.schema import PredictAnswer, Prediction, PredictRequest, Tweet, TweetAnswer, TweetsAnswer

MAX_BATCH = 64  # requests
BATCH_WAIT = 0.002  # seconds to wait for more of them


class Server(ls.LitServer):
    """A LitServer that refuses politely, and does not revive the workers it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.app.add_exception_handler(RequestValidationError, refuse)

    def _perform_graceful_shutdown(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # In a thread, since the main thread's own line to the event is still held by its wait().
        stop_reviving = threading.Thread(target=self._shutdown_event.set)
        stop_reviving.start()
        stop_reviving.join()
        super()._perform_graceful_shutdown(*args, **kwargs)


class DisasterAPI(ls.LitAPI):
    """Answers /predict.

    A malformed request is refused (422) before it is queued, so that it cannot harm the others
    of its batch.
    """

    def __init__(self, folder: Path, route: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_WAIT, api_path=route)
        self.folder = folder

    def setup(self, device: str) -> None:
        """Load the locked model, once a worker."""
        os.setpgrp()  # Ctrl-C is for the main process, which ends the workers when all is answered
        leave_with_parent()
        self.classifier = Classifier(self.folder)

    def decode_request(self, request: PredictRequest) -> PredictRequest:
        """Take the checked request as it is; FastAPI reads its schema from here."""
        return request

    def predict(self, batch: list[PredictRequest]) -> list[PredictAnswer]:
        """Answer the tweets of all requests together."""
        asked = [[r.text] if isinstance(r, Tweet) else [t.text for t in r.instances] for r in batch]
        scores = iter(self.classifier.probabilities(list(itertools.chain.from_iterable(asked))))
        return [
            self._answer(request, [float(next(scores)) for _ in texts])
            for request, texts in zip(batch, asked, strict=True)
        ]

    def encode_response(self, output: PredictAnswer) -> PredictAnswer:
        """Take the answer as it is; FastAPI reads its schema from here."""
        return output

    def _answer(self, request: PredictRequest, scores: list[float]) -> PredictAnswer:
        said = [Prediction(label=self.classifier.label(p), probability=p) for p in scores]
        version = self.classifier.manifest.version
        if isinstance(request, Tweet):
            return TweetAnswer(**said[0].model_dump(), model=version, id=str(uuid.uuid4()))
        return TweetsAnswer(predictions=said, model=version)


def refuse(_request: Request, error: Exception) -> Response:
    """Say what is wrong with a request without repeating it.

    FastAPI's own answer does, and fails itself where the request holds NaN or a lone surrogate.
    """
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in problems]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


def leave_with_parent() -> None:
    """End this process within a second of its parent, even if that was killed."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
