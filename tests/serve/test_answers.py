"""The two forms of /predict, and /explain: the words' pushes explain the answer."""

import concurrent.futures
import json

import httpx
import pytest

from locked.classifier import Classifier
from serve.answers import explain, variants
from serve.worker import Prediction
from tests.serve.here import Here


def test_one_tweet(server: Here, classifier: Classifier) -> None:
    text = "Evacuations ordered as the river bursts its banks"
    answer = httpx.post(f"{server.url}/predict", json={"text": text}).raise_for_status().json()
    assert set(answer) == {"label", "probability", "model", "id"}
    assert answer["probability"] == pytest.approx(classifier.probabilities([text])[0], abs=1e-6)
    assert answer["label"] == classifier.label(answer["probability"])
    assert answer["model"] == classifier.manifest.version


def test_many_tweets_in_the_form_of_vertex(
    server: Here, classifier: Classifier, texts: list[str]
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


def test_the_answer_is_the_same_under_load(
    server: Here, classifier: Classifier, texts: list[str]
) -> None:
    with (
        httpx.Client(base_url=server.url) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        bulk = pool.submit(
            lambda: client.post("/predict", json={"instances": [{"text": t} for t in texts]})
        )
        wrong = [pool.submit(client.post, "/predict", json={"text": ""}) for _ in texts]
        answers = list(pool.map(lambda t: client.post("/predict", json={"text": t}).json(), texts))
    assert {refusal.result().status_code for refusal in wrong} == {422}  # which harm no other
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
        (b'{"te\\ud800t": "fire"}', "body"),
        (b'{"instances": [["fire", "flood"]]}', "instances"),
        (b'{"instances": []}', "instances"),
        (b'{"instances": [{"text": "fire"}, {"text": null}]}', "instances"),
        (b'{"instances": "fire"}', "instances"),
        (b'{"instances": [[]]}', "instances"),
        (b'{"instances": ["fire", " "]}', '"instances", 1, "text"'),
        (b'{"instances": [{"text": "fire"}, {"txt": "fire"}]}', '"instances", 1'),
        (json.dumps({"text": "x" * 30_001}).encode(), "text"),
        (json.dumps({"instances": [{"text": "x"}] * 1001}).encode(), "instances"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{nonsense", "body"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud800"}', "body"),
        (b'{"text": NaN}', "text"),
        (b'{"text": 1e999}', "text"),
        (b"[" * 100_000, "body"),
        (b'{"full_text": "fire"}', 'full_text here: name it \\"text\\"'),
        (b'{"inputs": ["fire"]}', 'or \\"instances\\"'),
        (b'{"txt": "fire"}', "txt here"),
    ],
)
def test_a_clients_mistake_is_refused_by_field(server: Here, body: bytes, field: str) -> None:
    response = httpx.post(
        f"{server.url}/predict", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert field in json.dumps(response.json()["detail"])
    assert "input" not in response.json()["detail"][0]


def test_any_content_type_is_read_as_json_unless_a_foreign_page_sends_it(server: Here) -> None:
    def ask(**headers: str) -> int:
        return httpx.post(
            f"{server.url}/predict", content=b'{"text": "fire"}', headers=headers
        ).status_code

    kinds = ["application/x-www-form-urlencoded", "text/plain", "nonsense"]
    assert ask() == 200
    assert [ask(**{"Content-Type": kind}) for kind in kinds] == [200] * 3
    page = {"Origin": "https://evil.example"}
    assert ask(**page) == 415
    assert [ask(**page, **{"Content-Type": kind}) for kind in kinds] == [415] * 3
    assert ask(**page, **{"Content-Type": "Application/JSON; charset=utf-8"}) == 200


@pytest.mark.parametrize(
    "body",
    [
        {"text": "fire", "id": 7, "keyword": None, "location": "Rome"},
        {"instances": [{"text": "fire", "key": 1}], "key": 2, "parameters": {"other": 1}},
        {"instances": ["fire"]},
        {"instances": [["fire"]], "parameters": None},
    ],
)
def test_what_clients_have_at_hand_is_accepted(server: Here, body: dict[str, object]) -> None:
    expected = httpx.post(f"{server.url}/predict", json={"text": "fire"}).json()["probability"]
    answer = httpx.post(f"{server.url}/predict", json=body).raise_for_status().json()
    (single,) = answer.get("predictions", [answer])
    assert single["probability"] == pytest.approx(expected, abs=1e-6)


def test_the_others_of_a_wrong_instance_are_answered_if_asked(server: Here) -> None:
    body = {"instances": ["fire", {"txt": "fire"}, {"text": ""}, 5, "flood"]}
    refused = httpx.post(f"{server.url}/predict", json=body)
    assert refused.status_code == 422
    assert [d["loc"][3] for d in refused.json()["detail"]] == [1, 2, 3]
    body["parameters"] = {"partial": True}  # type: ignore[assignment]
    answer = httpx.post(f"{server.url}/predict", json=body).raise_for_status().json()
    predicted = answer["predictions"]
    assert [p["id"].rpartition("-")[2] for p in predicted] == ["0", "1", "2", "3", "4"]
    for index in (1, 2, 3):
        assert predicted[index]["error"].startswith(f"instances[{index}]: ")
    assert "text" in predicted[1]["error"]
    others = httpx.post(f"{server.url}/predict", json={"instances": ["fire", "flood"]}).json()
    expected = [p["probability"] for p in others["predictions"]]
    assert [predicted[n]["probability"] for n in (0, 4)] == pytest.approx(expected, abs=1e-6)
    only = {"instances": [5], "parameters": {"partial": True}}
    answer = httpx.post(f"{server.url}/predict", json=only).raise_for_status().json()
    assert ["error" in p for p in answer["predictions"]] == [True]


def test_a_link_is_answered_as_a_body_is(server: Here) -> None:
    posted = httpx.post(f"{server.url}/predict", json={"text": "fire & flood"}).json()
    answer = httpx.get(f"{server.url}/predict", params={"text": "fire & flood"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert {**answer.json(), "id": ""} == {**posted, "id": ""}
    for params in ({}, {"text": " "}, {"text": "x" * 30_001}):
        refused = httpx.get(f"{server.url}/predict", params=params)
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["query", "text"]


def predictions(*scores: float) -> list[Prediction]:
    return [Prediction("disaster" if p >= 0.5 else "not_disaster", p, None) for p in scores]


def test_a_push_is_what_the_answer_loses_without_the_word() -> None:
    text = "Fire  in town"
    assert variants(text, 128) == [text, "", "  in town", "Fire   town", "Fire  in "]
    answer = explain(text, predictions(0.9, 0.4, 0.5, 0.95, 0.8))
    places = [(w["word"], w["start"]) for w in answer["words"]]
    assert places == [("Fire", 0), ("in", 6), ("town", 9)]
    pushes = [w["push"] for w in answer["words"]]
    assert pushes == pytest.approx([0.4, -0.05, 0.1])
    assert answer["baseline"] + sum(pushes) + answer["together"] == pytest.approx(0.9)


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
