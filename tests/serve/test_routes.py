"""What people and machines ask about the service."""

import json
import re

import pytest
from ruamel.yaml import YAML

from locked.classifier import Classifier
from serve import logs, routes, schema
from tests.conftest import ROOT
from tests.serve.here import Here, Serve

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
FUNCTIONS = {"sum", "by", "rate", "increase", "histogram_quantile", "absent", "or"}
VERDICT = {"id": "abc", "right": False}


def test_info_describes_the_model(server: Here, classifier: Classifier) -> None:
    info, manifest = server.get("/info").json(), classifier.manifest
    assert info["model"]["threshold"] == manifest.threshold
    assert info["model"]["metrics"]["accuracy"] == manifest.metrics["accuracy"]


def test_the_schema_has_examples_answers_and_errors(server: Here) -> None:
    openapi = server.get("/openapi.json").json()
    schemas = openapi["components"]["schemas"]
    for name, route, answer in (
        ("Tweet", "/predict", schema.TweetAnswer),
        ("Tweets", "/predict", schema.TweetsAnswer),
        ("Tweet", "/explain", schema.ExplainAnswer),
    ):
        (example,) = schemas[name]["examples"]
        answer.model_validate_json(server.post(route, example).content, strict=True)
        documented = openapi["paths"][route]["post"]["responses"]
        assert {"200", *map(str, routes.RESPONSES)} == {*documented}
        assert answer.__name__ in schemas
    assert server.post("/feedback", schemas["Feedback"]["examples"][0]).is_success
    assert "/reload" not in openapi["paths"]
    assert openapi["servers"] == [{"url": "."}]


def test_metrics_count_what_was_done(server: Here) -> None:
    predict = 'http_requests_total{method="POST",route="/predict",status="200"}'
    wrong = 'http_requests_total{method="POST",route="/predict",status="422"}'
    names = [predict, wrong, "prediction_probability_count", "batch_tweets_sum"]
    names += ['http_request_seconds_count{route="/predict"}', "queue_wait_seconds_count"]
    labels = [f'predictions_total{{label="{label}"}}' for label in ("disaster", "not_disaster")]
    names += ["prediction_log_lines_total"]  # none, unless it is asked for
    before = {name: server.metric(name) for name in names + labels}
    predictions = server.predict({"instances": ["flood", "cake"] * 50})["predictions"]
    predictions.append(server.predict({"text": "one more"}))
    server.post("/predict", {"text": 1})
    disasters = sum(p["label"] == "disaster" for p in predictions)
    counts = (2, 1, 101, 101, 3, 2, 0, disasters, 101 - disasters)
    expected = dict(zip(names + labels, counts, strict=True))
    assert {name: server.metric(name) - before[name] for name in expected} == expected


def test_a_verdict_is_recorded_without_the_tweet(server: Here) -> None:
    before = server.metric('feedback_total{verdict="wrong"}')
    assert server.post("/feedback", VERDICT | {"text": "private"}).status_code == 202
    line = json.loads(server.feedback.read_text().splitlines()[-1])
    assert line.pop("time") > "2020"
    assert line == {"message": "feedback"} | VERDICT
    assert server.metric('feedback_total{verdict="wrong"}') == before + 1
    for name, value in (("id", ""), ("id", "x" * 65), ("id", 5), ("right", "maybe")):
        answer = server.post("/feedback", VERDICT | {name: value})
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"][-1] == name


def test_a_verdict_that_cannot_be_recorded_is_refused(
    server: Here, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "FEEDBACK_LIMIT", 0)
    to_file = server.post("/feedback", VERDICT)
    assert (to_file.status_code, "has reached 0 bytes" in to_file.json()["detail"]) == (503, True)
    with serve(FEEDBACK_FILE="stdout") as other:
        monkeypatch.setattr(logs.stdout, "put", lambda _: False)
        to_stdout = other.post("/feedback", VERDICT)
    assert (to_stdout.status_code, "standard output" in to_stdout.json()["detail"]) == (503, True)


def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_exist(server: Here) -> None:
    server.predict({"text": "fire"})
    served = server.get("/metrics").text
    samples = set(re.findall(r"^(\w+)(?:\{| )", served, re.M))
    labels = set(re.findall(r'(\w+)="', served))
    targets = [t for p in json.loads(DASHBOARD.read_text())["panels"] for t in p["targets"]]
    rules = YAML(typ="safe").load(RULES)["groups"][0]["rules"]

    def names(expression: str) -> set[str]:
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
        return set(re.findall(r"[a-z_]{2,}", bare)) - FUNCTIONS

    for target in targets:
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, target
    for each in targets + rules:
        assert names(each["expr"]) <= samples | labels, each
    families = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in samples}
    expected = {name for name in families if not name.startswith(("python_", "process_"))}
    shown = set.union(*(names(target["expr"]) for target in targets)) & samples
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in shown} == expected
