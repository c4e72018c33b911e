"""The dashboard shows what there is, and the alerts watch it."""

import json
import re

import httpx
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.serve.here import Here

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
FUNCTIONS = {"sum", "by", "rate", "increase", "histogram_quantile", "absent", "or"}


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
