"""The demo of an event runs from the first tweet to the adapted model."""

import json

import pandas as pd

from locked.labels import LABELS
from tests.conftest import ROOT, Project


def test_the_events_tweets_are_different_and_labelled() -> None:
    tweets = pd.read_csv(ROOT / "examples" / "event.csv")
    assert 150 <= len(tweets) <= 200
    assert not tweets["text"].duplicated().any()
    assert set(tweets["label"]) == set(LABELS)
    assert 0.4 < (tweets["label"] == LABELS[1]).mean() < 0.6


def test_an_event_unfolds(pipeline: Project) -> None:
    output = pipeline.run("python", "-m", "examples.event").stdout
    folder = pipeline.folder / "monitor-demo"
    without = json.loads((folder / "without-labels" / "report.json").read_text())["versions"][0]
    assert without["verdict"]["word"] == "look"
    assert without["estimated"]["accuracy"]["value"] is None
    assert (folder / "sample.html").exists()
    labelled = json.loads((folder / "labels" / "report.json").read_text())["versions"][0]
    assert labelled["labels"]["tweets"] == 40
    assert ", 0 failed\n" in output
    assert output.splitlines()[-1].startswith("Gained: ")
    assert json.loads((folder / "report.json").read_text())["versions"][0]["labels"]["tweets"] > 150
