"""The two forms of /predict, and /explain: the words' pushes explain the answer."""

import concurrent.futures
import json

import httpx
import pytest

from locked.classifier import Classifier
from serve.answers import make_variants
from tests.conftest import HANG
from tests.serve.here import Here

TEXTS = [f"flood at gate {number}" for number in range(300)]
TEXT = "Wildfire 🔥  forces hundreds from their homes"


def test_one_tweet(server: Here, classifier: Classifier) -> None:
    answer = server.predict({"text": TEXT})
    assert set(answer) == {"label", "probability", "model", "id"}
    assert answer["probability"] == pytest.approx(classifier.probabilities([TEXT])[0], abs=1e-6)
    assert answer["label"] == classifier.label(answer["probability"])
    assert answer["model"] == classifier.manifest.version


def test_many_tweets_and_single_ones_under_load(server: Here, classifier: Classifier) -> None:
    many = {"instances": [{"text": text} for text in TEXTS], "parameters": {}}
    with (
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        bulk = pool.submit(client.post, "/predict", json=many)
        wrong = [pool.submit(client.post, "/predict", json={"text": ""}) for _ in TEXTS]
        answers = list(pool.map(lambda t: client.post("/predict", json={"text": t}).json(), TEXTS))
    assert {refusal.result().status_code for refusal in wrong} == {422}  # which harm no other
    whole = bulk.result().json()
    predictions = whole["predictions"]
    assert set(whole) == {"predictions", "model"}
    assert {tuple(p) for p in predictions} == {("label", "probability", "id")}
    request_id = predictions[0]["id"].removesuffix("-0")
    assert [p["id"] for p in predictions] == [f"{request_id}-{n}" for n in range(len(TEXTS))]
    assert len({a["id"] for a in answers}) == len(TEXTS)
    expected = classifier.probabilities(TEXTS).tolist()
    for each in (predictions, answers):
        assert [p["probability"] for p in each] == pytest.approx(expected, abs=1e-6)
        assert [p["label"] for p in each] == [classifier.label(p) for p in expected]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text": "   "}', "text"),
        (b'{"text": 5}', "text"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud800"}', "body"),
        (b'{"te\\ud800t": "fire"}', "body"),
        (b'{"text": NaN}', "text"),
        (b'{"instances": []}', "instances"),
        (b'{"instances": "fire"}', "instances"),
        (b'{"instances": [["fire", "flood"]]}', "instances"),
        (b'{"instances": ["fire", " "]}', '"instances", 1, "text"'),
        (b'{"instances": [{"text": "fire"}, {"txt": "fire"}]}', '"instances", 1'),
        (json.dumps({"text": "x" * 30_001}).encode(), "text"),
        (json.dumps({"instances": [{"text": "x"}] * 1001}).encode(), "instances"),
        (b"[]", "body"),
        (b"", "body"),
        (b"[" * 100_000, "body"),
        (b'{"full_text": "fire"}', 'found full_text: name it \\"text\\"'),
    ],
)
def test_a_clients_mistake_is_refused_by_field(server: Here, body: bytes, field: str) -> None:
    response = server.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert field in json.dumps(response.json()["detail"])
    assert "input" not in response.json()["detail"][0]


def test_any_content_type_is_read_as_json_unless_a_foreign_page_sends_it(server: Here) -> None:
    def ask(**headers: str) -> int:
        return server.post("/predict", content=b'{"text": "fire"}', headers=headers).status_code

    kinds = ["application/x-www-form-urlencoded", "text/plain", "nonsense"]
    assert ask() == 200
    assert [ask(**{"Content-Type": kind}) for kind in kinds] == [200] * 3
    page = {"Origin": "https://evil.example"}
    assert ask(**page) == 415
    assert [ask(**page, **{"Content-Type": kind}) for kind in kinds] == [415] * 3
    assert ask(**page, **{"Content-Type": "Application/JSON; charset=utf-8"}) == 200


def test_what_clients_have_at_hand_is_accepted(server: Here) -> None:
    answers = [
        server.predict({"text": "fire", "id": 7, "keyword": None, "location": "Rome"}),
        *server.predict({"instances": ["fire", ["fire"]], "parameters": None})["predictions"],
        *server.predict({"instances": [{"text": "fire", "key": 1}], "key": 2})["predictions"],
    ]
    expected = server.predict({"text": "fire"})["probability"]
    assert [a["probability"] for a in answers] == pytest.approx([expected] * 4, abs=1e-6)
    for route in ("/predict", "/explain"):  # Windows writes a byte order mark
        marked = server.post(route, content=b'\xef\xbb\xbf{"text": "fire"}').json()
        assert marked["probability"] == pytest.approx(expected, abs=1e-6)


def test_a_words_push_is_the_probability_with_it_minus_that_without_it(
    server: Here, classifier: Classifier
) -> None:
    answer = server.post("/explain", {"text": TEXT}).json()
    plain = server.predict({"text": TEXT})
    assert answer["probability"] == pytest.approx(plain["probability"], abs=1e-6)
    assert answer["label"] == plain["label"]
    variants = make_variants(TEXT, 128)
    assert variants[:3] == [TEXT, "", TEXT.removeprefix("Wildfire")]
    probability, baseline, *without_word = classifier.probabilities(variants).tolist()
    assert answer["baseline"] == pytest.approx(baseline, abs=1e-6)
    pushes = [probability - score for score in without_word]
    assert [w["push"] for w in answer["words"]] == pytest.approx(pushes, abs=1e-6)
    assert answer["together"] == pytest.approx(probability - baseline - sum(pushes), abs=1e-6)
    assert [TEXT[w["start"] :][: len(w["word"])] for w in answer["words"]] == TEXT.split()
    max_words = classifier.manifest.max_length  # words: the model reads no more
    before = server.metric("batch_tweets_sum")
    words = server.post("/explain", {"text": "fire " * (max_words + 6)}).json()["words"]
    assert server.metric("batch_tweets_sum") - before == max_words + 2
    assert len(words) == max_words + 6
    assert words[-1]["push"] == 0
