"""The answers of /predict and /explain.

A word's push is the change of the probability when the word is left out: Li, Monroe and Jurafsky,
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
from serve.schema import Tweet, Tweets
from serve.worker import Prediction

WORD = re.compile(r"\S+")


def answer(request: Tweet | Tweets, answer_id: str, job: Job, log: PredictionLog) -> Response:
    """Return the response to a request, and log its answers."""
    now, seconds = time.time(), time.monotonic() - job.received
    is_single = isinstance(request, Tweet)
    entries: list[Entry] = []
    bodies: list[dict[str, object]] = []
    for index, (text, prediction) in enumerate(zip(job.texts, job.predictions(), strict=True)):
        entry_id = answer_id if is_single else f"{answer_id}-{index}"
        label, probability, _ = prediction
        entries.append(Entry(entry_id, now, text, job.model, prediction, seconds))
        metrics.predictions(label).inc()
        metrics.PROBABILITY.observe(probability)
        bodies.append({"label": label, "probability": probability, "id": entry_id})
    log.note(entries)
    content = bodies[0] if is_single else {"predictions": bodies}
    return Response(json.dumps(content | {"model": job.model}), media_type="application/json")


def make_variants(text: str, limit: int) -> list[str]:
    """Return the text, the empty text, and the text without each of its first `limit` words."""
    words = list(WORD.finditer(text))[:limit]
    return [text, "", *(text[: w.start()] + text[w.end() :] for w in words)]


def explain(text: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return the push of each word, from the predictions for `make_variants(text)`."""
    probability, baseline, *without_word = (prediction.probability for prediction in predictions)
    words = list(WORD.finditer(text))
    pushes = [probability - other for other in without_word]
    pushes += [0.0] * (len(words) - len(without_word))  # words that the model does not read
    return {
        "label": predictions[0].label,
        "probability": probability,
        "baseline": baseline,
        "words": [
            {"word": word.group(), "start": word.start(), "push": push}
            for word, push in zip(words, pushes, strict=True)
        ],
        "together": probability - baseline - sum(pushes),
    }
