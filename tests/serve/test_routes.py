"""What people and machines ask about the service."""

import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from locked.classifier import Classifier
from serve import logs, routes
from tests.conftest import ROOT
from tests.serve.here import Here, here

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
FUNCTIONS = {"sum", "by", "rate", "increase", "histogram_quantile", "absent", "or"}
VERDICT = {"id": "abc", "right": False}


def test_info_describes_the_model(server: Here, classifier: Classifier) -> None:
    info = httpx.get(f"{server.url}/info").json()
    assert info["model"]["version"] == classifier.manifest.version
    assert info["model"]["threshold"] == classifier.manifest.threshold
    assert info["model"]["metrics"]["accuracy"] == classifier.manifest.metrics["accuracy"]
    assert info["previous"] is None


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


def test_a_verdict_is_recorded_without_the_tweet(server: Here) -> None:
    before = server.metric('feedback_total{verdict="wrong"}')
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT | {"text": "private"})
    assert answer.status_code == 202
    line = json.loads(server.feedback.read_text().splitlines()[-1])
    assert line.pop("time") > "2020"
    assert line == {"message": "feedback"} | VERDICT
    assert server.metric('feedback_total{verdict="wrong"}') == before + 1


@pytest.mark.parametrize("change", [{"id": ""}, {"right": "maybe"}, {"id": "x" * 65}, {"id": 5}])
def test_a_malformed_verdict_is_refused(server: Here, change: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT | change)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == next(iter(change))


@pytest.mark.parametrize(
    ("place", "problem"), [("stdout", "standard output"), ("file", "file has reached 0 bytes")]
)
def test_a_verdict_that_cannot_be_recorded_is_refused(
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    problem: str,
) -> None:
    monkeypatch.setattr(routes, "FEEDBACK_LIMIT", 0)
    file = "stdout" if place == "stdout" else str(tmp_path / place)
    with here(classifier, tmp_path, FEEDBACK_FILE=file) as server:
        monkeypatch.setattr(logs.stdout, "put", lambda _: False)
        answer = httpx.post(f"{server.url}/feedback", json=VERDICT)
    assert answer.status_code == 503
    assert problem in answer.json()["detail"]


def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_exist(server: Here) -> None:
    httpx.post(f"{server.url}/predict", json={"text": "fire"}).raise_for_status()
    served = httpx.get(f"{server.url}/metrics").text
    samples = set(re.findall(r"^(\w+)(?:\{| )", served, re.M))
    labels = set(re.findall(r'(\w+)="', served))
    seen = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = re.sub(r'"[^"]*"|\[[^\]]*\]', "", target["expr"])
            words = set(re.findall(r"[a-z_]{2,}", expression)) - FUNCTIONS
            assert words <= samples | labels, panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]
            seen |= words & samples
    for rule in YAML(typ="safe").load(RULES)["groups"][0]["rules"]:
        expression = re.sub(r'"[^"]*"|\[[^\]]*\]', "", rule["expr"])
        words = set(re.findall(r"[a-z_]{2,}", expression)) - FUNCTIONS
        assert words <= samples | labels, rule["alert"]
    families = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in samples}
    own = {name for name in families if not name.startswith(("python_", "process_"))}
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in seen} == own
