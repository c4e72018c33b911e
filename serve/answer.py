"""The answers to a request's tweets, over HTTP and in the log."""

import json
import time

from fastapi import Response

from serve import metrics
from serve.jobs import Job
from serve.prediction_log import Entry, PredictionLog
from serve.schema import PredictRequest, Tweet, WrongTweet


def answer(request: PredictRequest, answer_id: str, job: Job, log: PredictionLog) -> Response:
    """Return the answer to a request, and have it logged."""
    now, seconds = time.time(), time.monotonic() - job.received
    entries = iter(
        Entry("", now, text, job.model, prediction, seconds)
        for text, prediction in zip(job.texts, job.predictions(), strict=True)
    )
    content: dict[str, object]
    if isinstance(request, Tweet):
        entry = next(entries)._replace(id=answer_id)
        content = {**_body(entry), "model": job.model, "id": answer_id}
        answered = [entry]
    else:
        answered = []
        predictions: list[dict[str, object]] = []
        for index, tweet in enumerate(request.instances):
            own_id = f"{answer_id}-{index}"
            if isinstance(tweet, WrongTweet):
                predictions.append({"error": f"instances[{index}]: {tweet.error}", "id": own_id})
                continue
            answered.append(entry := next(entries)._replace(id=own_id))
            predictions.append({**_body(entry), "id": own_id})
        content = {"predictions": predictions, "model": job.model}
    if log.is_on:
        log.note(answered)
    return Response(json.dumps(content), media_type="application/json")


def _body(entry: Entry) -> dict[str, object]:
    label, probability, _ = entry.prediction
    metrics.predictions(label).inc()
    metrics.PROBABILITY.observe(probability)
    return {"label": label, "probability": probability}
