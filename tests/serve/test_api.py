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
    assert {tuple(p) for p in answer["predictions"]} == {("label", "probability", "id")}
    request_id = answer["predictions"][0]["id"].removesuffix("-0")
    ids = [f"{request_id}-{n}" for n in range(len(texts))]
    assert [p["id"] for p in answer["predictions"]] == ids
    expected = classifier.probabilities(texts).tolist()
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(expected, abs=1e-6)
    assert [p["label"] for p in answer["predictions"]] == [classifier.label(p) for p in expected]


KAGGLE = {"id": 7, "keyword": "", "location": None, "text": "fire downtown"}


@pytest.mark.parametrize(
    "body",
    [
        KAGGLE,
        {"instances": [KAGGLE], "jobId": "x", "parameters": {"confidence": 0.5}},
        {"instances": ["fire downtown"]},
        {"instances": [["fire downtown"]]},
        {"instances": [[{"text": "fire downtown"}]]},
    ],
)
def test_what_clients_send_is_understood(
    server: Running, classifier: Classifier, body: dict[str, object]
) -> None:
    answer = httpx.post(f"{server.url}/predict", json=body).raise_for_status().json()
    said = answer["predictions"][0] if "predictions" in answer else answer
    expected = classifier.probabilities(["fire downtown"])[0]
    assert said["probability"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_json_needs_no_content_type(server: Running, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    content = b'{"text": "fire"}'
    answer = httpx.post(f"{server.url}/predict", content=content, headers=headers)
    assert answer.status_code == 200
    # a page of somebody else's could send this without the browser asking first
    headers["Origin"] = "https://evil.example"
    answer = httpx.post(f"{server.url}/predict", content=content, headers=headers)
    assert answer.status_code == 422


def test_a_tweet_may_stand_in_the_url(server: Running, classifier: Classifier) -> None:
    text = "Evacuations ordered & the river bursts its banks"
    answer = httpx.get(f"{server.url}/predict", params={"text": text})
    expected = classifier.probabilities([text])[0]
    assert answer.json()["probability"] == pytest.approx(expected, abs=1e-6)
    assert set(answer.json()) == {"label", "probability", "model", "id"}
    assert answer.headers["Cache-Control"] == "no-store"
    for params in ({}, {"text": " "}, {"text": "x" * 4_001}, {"txt": "fire"}):
        refused = httpx.get(f"{server.url}/predict", params=params)
        assert refused.status_code == 422
        assert "text" in refused.json()["detail"][0]["loc"]


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
        (b'{"instances": []}', "instances"),
        (b'{"instances": [{"text": "fire"}, {"text": null}]}', "instances"),
        (b'{"instances": "fire"}', "instances"),
        (b'{"instances": [["fire", "water"]]}', "instances"),
        (b'{"instances": [[]]}', "instances"),
        (b'{"instances": ["fire", " "]}', '"instances", 1, "text"'),
        (b'{"instances": [{"text": "fire"}, {"txt": "fire"}]}', '"instances", 1, "text"'),
        (json.dumps({"text": "x" * 4_001}).encode(), "text"),
        (json.dumps({"instances": [{"text": "x"}] * 1001}).encode(), "instances"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{nonsense", "body"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud800"}', "text"),
        (b'{"text": NaN}', "text"),
        (b'{"text": 1e999}', "text"),
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
