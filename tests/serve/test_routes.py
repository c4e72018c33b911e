"""What people and machines ask about the service."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from locked.classifier import Classifier
from tests.serve.here import Here


def test_info_describes_the_model(server: Here, classifier: Classifier) -> None:
    said = httpx.get(f"{server.url}/info").json()
    assert said["model"]["version"] == classifier.manifest.version
    assert said["model"]["threshold"] == classifier.manifest.threshold
    assert said["model"]["metrics"]["accuracy"] == classifier.manifest.metrics["accuracy"]
    assert said["previous"] is None


def test_the_schema_has_examples_that_work(server: Here) -> None:
    assert httpx.get(f"{server.url}/docs").status_code == 200
    openapi = httpx.get(f"{server.url}/openapi.json").json()
    schemas = openapi["components"]["schemas"]
    assert {"Tweet", "Tweets", "TweetAnswer", "TweetsAnswer"} <= set(schemas)
    for name, route in (("Tweet", "/predict"), ("Tweets", "/predict"), ("Feedback", "/feedback")):
        for example in schemas[name]["examples"]:
            assert httpx.post(f"{server.url}{route}", json=example).is_success
    assert "/reload" not in openapi["paths"]


def test_metrics_count_what_was_done(server: Here, texts: list[str]) -> None:
    predict = 'http_requests_total{method="POST",route="/predict",status="200"}'
    wrong = 'http_requests_total{method="POST",route="/predict",status="422"}'
    names = [predict, wrong, "prediction_probability_count", "batch_tweets_sum"]
    names += ['http_request_seconds_count{route="/predict"}', "queue_wait_seconds_count"]
    labels = [f'predictions_total{{label="{label}"}}' for label in ("disaster", "not_disaster")]
    before = {name: server.metric(name) for name in names + labels}
    body = {"instances": [{"text": text} for text in texts]}
    predictions = httpx.post(f"{server.url}/predict", json=body).json()["predictions"]
    httpx.post(f"{server.url}/predict", json={"text": "one more"})
    httpx.post(f"{server.url}/predict", json={"text": 1})
    grown = {name: server.metric(name) - before[name] for name in names + labels}
    assert grown[predict] == 2
    assert grown[wrong] == 1
    assert grown['http_request_seconds_count{route="/predict"}'] == 3
    assert grown["queue_wait_seconds_count"] == 2
    assert grown["prediction_probability_count"] == grown["batch_tweets_sum"] == len(texts) + 1
    disasters = sum(p["label"] == "disaster" for p in predictions)
    assert 0 <= grown[labels[0]] - disasters <= 1
    assert sum(grown[label] for label in labels) == len(texts) + 1


def test_metrics_are_well_formed_and_name_the_model(server: Here, classifier: Classifier) -> None:
    text = httpx.get(f"{server.url}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert "ready_workers" in families
    assert {"version": classifier.manifest.version} in [
        sample.labels for sample in families["model_info"].samples
    ]
    assert {s.labels["outcome"] for s in families["model_swaps"].samples} >= {"done", "rejected"}
