"""Words get the push they have, and the pushes explain the answer."""

import httpx
import pytest

from locked.classifier import Classifier
from serve.answers import explain, variants
from serve.worker import Prediction
from tests.serve.here import Here


def said(*scores: float) -> list[Prediction]:
    return [Prediction("disaster" if p >= 0.5 else "not_disaster", p, None) for p in scores]


def test_each_word_is_left_out_once() -> None:
    assert variants("Fire  in town", 128) == [
        "Fire  in town",
        "",
        "  in town",
        "Fire   town",
        "Fire  in ",
    ]


def test_a_push_is_what_the_answer_loses_without_the_word() -> None:
    answer = explain("Fire in town", said(0.9, 0.4, 0.5, 0.95, 0.8), "m", "r")
    assert [w.word for w in answer.words] == ["Fire", "in", "town"]
    assert [w.start for w in answer.words] == [0, 5, 8]
    assert [w.push for w in answer.words] == pytest.approx([0.4, -0.05, 0.1])
    total = answer.baseline + sum(w.push for w in answer.words) + answer.together
    assert total == pytest.approx(answer.probability)


def test_words_that_no_model_reads_push_nothing() -> None:
    text = "fire " * 20
    asked = variants(text, 15)
    assert len(asked) == 15 + 2
    answer = explain(text, said(*[0.5] * len(asked)), "m", "r")
    assert len(answer.words) == 20
    assert answer.words[-1].push == 0


def test_a_served_explanation_ends_with_what_its_model_reads(
    server: Here, classifier: Classifier
) -> None:
    most = classifier.manifest.max_length
    text = "fire " * (most + 6)
    before = server.metric("batch_tweets_sum")
    words = httpx.post(f"{server.url}/explain", json={"text": text}).json()["words"]
    assert server.metric("batch_tweets_sum") - before == most + 2
    assert len(words) == most + 6
    assert words[-1]["push"] == 0


def test_the_served_explanation_is_of_the_served_answer(
    server: Here, classifier: Classifier
) -> None:
    text = "Wildfire 🔥 forces hundreds from their homes"
    answer = httpx.post(f"{server.url}/explain", json={"text": text}).raise_for_status().json()
    plain = httpx.post(f"{server.url}/predict", json={"text": text}).json()
    assert answer["probability"] == pytest.approx(plain["probability"], abs=1e-6)
    assert answer["label"] == plain["label"]
    whole, nothing, *without = classifier.probabilities(variants(text, 128)).tolist()
    assert answer["baseline"] == pytest.approx(nothing, abs=1e-6)
    assert [w["push"] for w in answer["words"]] == pytest.approx(
        [whole - score for score in without], abs=1e-6
    )
    assert [text[w["start"] :][: len(w["word"])] for w in answer["words"]] == text.split()
