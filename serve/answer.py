"""What is said of a request's tweets, over HTTP and in the log."""

import time

from fastapi import Response

from serve import metrics
from serve.jobs import Job
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


def answer(request: PredictRequest, request_id: str, job: Job, log: PredictionLog) -> Response:
    """Return the answer to a request, and have it logged."""
    scored, now = zip(job.texts, job.predictions(), strict=True), time.time()
    seconds = time.monotonic() - job.received
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
        logged.append(Said(own_id, now, text, job.model, said.label, said.probability, seconds))
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
