"""The answers of /predict and /explain.

A word's push is how much the answer changes when the word is left out: Li, Monroe and Jurafsky,
Understanding Neural Networks through Representation Erasure, 2016,
https://arxiv.org/abs/1612.08220.
"""

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from fastapi import Response

from serve import metrics
from serve.jobs import Job
from serve.prediction_log import Entry, PredictionLog
from serve.schema import Tweet, Tweets, WrongTweet
from serve.worker import Prediction

WORD = re.compile(r"\S+")


def answer(request: Tweet | Tweets, answer_id: str, job: Job, log: PredictionLog) -> Response:
    """Return the answer to a request, and have it logged."""
    now, seconds = time.time(), time.monotonic() - job.received
    results = iter(zip(job.texts, job.predictions(), strict=True))
    entries: list[Entry] = []

    def predict(own_id: str) -> dict[str, object]:
        text, prediction = next(results)
        entries.append(Entry(own_id, now, text, job.model, prediction, seconds))
        metrics.predictions(prediction.label).inc()
        metrics.PROBABILITY.observe(prediction.probability)
        return {"label": prediction.label, "probability": prediction.probability}

    content: dict[str, object]
    if isinstance(request, Tweet):
        content = {**predict(answer_id), "model": job.model, "id": answer_id}
    else:
        predictions = []
        for index, tweet in enumerate(request.instances):
            own_id = f"{answer_id}-{index}"
            if isinstance(tweet, WrongTweet):
                body: dict[str, object] = {"error": f"instances[{index}]: {tweet.error}"}
            else:
                body = predict(own_id)
            predictions.append({**body, "id": own_id})
        content = {"predictions": predictions, "model": job.model}
    log.note(entries)
    return Response(json.dumps(content), media_type="application/json")


def variants(text: str, limit: int) -> list[str]:
    """Return the text, no text, and the text without each of its first `limit` words in turn."""
    words = list(WORD.finditer(text))[:limit]
    return [text, "", *(text[: w.start()] + text[w.end() :] for w in words)]


def explain(text: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return the pushes of a text's words, from the predictions for its variants in their order."""
    whole, nothing, *without = (prediction.probability for prediction in predictions)
    words = list(WORD.finditer(text))
    pushes = [whole - probability for probability in without]
    pushes += [0.0] * (len(words) - len(without))  # the model does not read further words
    return {
        "label": predictions[0].label,
        "probability": whole,
        "baseline": nothing,
        "words": [
            {"word": word.group(), "start": word.start(), "push": push}
            for word, push in zip(words, pushes, strict=True)
        ],
        "together": whole - nothing - sum(pushes),
    }
