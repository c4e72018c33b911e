"""The two forms of /predict."""

import concurrent.futures
import json

import httpx
import pytest

from locked.classifier import Classifier
from tests.serve.running import Running


def test_one_tweet(server: Running, classifier: Classifier) -> None:
    text = "Evacuations ordered as the river bursts its banks"
    answer = httpx.post(f"{server.url}/predict", json={"text": text}).raise_for_status().json()
    assert set(answer) == {"label", "probability", "model", "id"}
    assert answer["probability"] == pytest.approx(classifier.probabilities([text])[0], abs=1e-6)
    assert answer["label"] == classifier.label(answer["probability"])
    assert answer["model"] == classifier.manifest.version


def test_many_tweets_in_the_form_of_vertex(
    server: Running, classifier: Classifier, texts: list[str]
) -> None:
    body = {"instances": [{"text": text} for text in texts], "parameters": {}}
    answer = httpx.post(f"{server.url}/predict", json=body).raise_for_status().json()
    assert set(answer) == {"predictions", "model"}
    expected = classifier.probabilities(texts).tolist()
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(expected, abs=1e-6)
    assert [p["label"] for p in answer["predictions"]] == [classifier.label(p) for p in expected]


def test_the_answer_is_the_same_under_load(
    server: Running, classifier: Classifier, texts: list[str]
) -> None:
    with (
        httpx.Client(base_url=server.url) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        bulk = pool.submit(
            lambda: client.post("/predict", json={"instances": [{"text": t} for t in texts]})
        )
        answers = list(pool.map(lambda t: client.post("/predict", json={"text": t}).json(), texts))
    expected = classifier.probabilities(texts).tolist()
    assert [a["probability"] for a in answers] == pytest.approx(expected, abs=1e-6)
    assert [p["probability"] for p in bulk.result().json()["predictions"]] == pytest.approx(
        expected, abs=1e-6
    )
    assert len({a["id"] for a in answers}) == len(texts)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text": ""}', "text"),
        (b'{"text": "   "}', "text"),
        (b'{"text": 5}', "text"),
        (b'{"txt": "fire"}', "text"),
        (b'{"text": "fire", "lang": "en"}', "lang"),
        (b'{"instances": []}', "instances"),
        (b'{"instances": [{"text": "fire"}, {"text": null}]}', "instances"),
        (b'{"instances": "fire"}', "instances"),
        (json.dumps({"text": "x" * 4_001}).encode(), "text"),
        (json.dumps({"instances": [{"text": "x"}] * 1001}).encode(), "instances"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{nonsense", "body"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud800"}', "text"),
        (b'{"text": NaN}', "text"),
        (b'{"text": 1e999}', "text"),
        (b'{"text": "fire", "\\ud800": 1}', "body"),
        (b"[" * 100_000, "body"),
    ],
)
def test_a_clients_mistake_is_refused_by_field(server: Running, body: bytes, field: str) -> None:
    response = httpx.post(
        f"{server.url}/predict", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert field in json.dumps(response.json()["detail"])
    assert "input" not in response.json()["detail"][0]


def test_mistakes_harm_no_neighbour(server: Running) -> None:
    bodies = [{"text": "fire downtown"}, {"text": ""}, {"instances": [{"text": 1}]}] * 30
    with (
        httpx.Client(base_url=server.url) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        codes = list(pool.map(lambda b: client.post("/predict", json=b).status_code, bodies))
    assert codes == [200, 422, 422] * 30
