"""The report: what it holds, and a page that opens anywhere."""

import json
import re
import shutil
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser

from common.hashing import sha256_of
from tests.conftest import CORPUS
from tests.monitor.conftest import (
    START,
    Place,
    command,
    lines_of,
    make_model,
    tweets,
    verdict,
    write,
)

TEXTS = pd.read_csv(CORPUS)["text"].astype(str).tolist()
SHORT: dict[str, Any] = {"start": START + timedelta(days=2)}


def reported(place: Place, *arguments: object, status: int = 0) -> dict[str, Any]:
    output = place.folder / "report"
    options = ("--model", place.model, "--output", output, *arguments)
    printed = command(place.logs, *options, status=status)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    in_use = next(one for one in report["versions"] if one["version"] == report["in_use"])
    assert f"{in_use['verdict']['word']}: {in_use['verdict']['reason']}" in printed
    return report


def test_a_week_like_the_weeks_before(place: Place) -> None:
    live = tweets(3, 900)
    place.log(live)
    report = reported(place)
    (one,) = report["versions"]
    assert one["verdict"]["word"] == "unknown"
    assert one["version"] == report["in_use"] == place.version
    assert (one["predictions"], one["asked"], one["different"]) == (900, 900, 900)
    assert one["estimated"]["accuracy"]["low"] <= live.accuracy
    assert one["estimated"]["accuracy"]["high"] >= live.accuracy
    assert one["estimated"]["accuracy"]["value"] is None
    assert sum(hour["tweets"] for hour in one["hours"]) == 900
    disasters = [hour["tweets"] for hour in one["hours"] if hour["whose"] == "disaster"]
    assert sum(disasters) == live.disaster.sum()
    assert one["hours"][0]["time"] == "2025-11-20T06:00:00Z"
    assert one["texts"] == 0


def test_a_shift_and_labels(place: Place) -> None:
    live = tweets(3, 900, longer=0.3)
    lines = place.log(live, texts=TEXTS)
    for line in lines[450:]:
        line["rate"] = 0.5
    write(place.logs / "predictions-1.jsonl", lines)
    wrong = [line for i, line in enumerate(lines) if live.disaster[i] != live.labels[i]]
    right = [line for i, line in enumerate(lines) if live.disaster[i] == live.labels[i]]
    verdicts = [verdict(line, right=False) for line in wrong]
    verdicts += [verdict(line, right=True) for line in right[::5]]
    feedback = write(place.folder / "feedback.jsonl", verdicts)
    (one,) = reported(place, "--feedback", feedback, status=3)["versions"]
    assert one["verdict"]["word"] == "look"
    assert [name for name, e in one["effects"].items() if e["moved"]] == ["characters"]
    assert one["asked"] == 450 + 2 * 450
    assert one["volunteered"]["tweets"] == len(verdicts)
    assert one["volunteered"]["accuracy"]["high"] < live.accuracy  # people click on what is wrong


def test_a_review_decides(place: Place) -> None:
    live = tweets(3, 900)
    place.log(live)
    sample = place.folder / "sample.csv"
    command("review", place.logs, "--model", place.model, "--n", 200, "--output", sample)
    table = pd.read_csv(sample, dtype=str, keep_default_na=False)
    rows = table["id"].str.removeprefix("r-").astype(int)
    table["label"] = live.labels[rows]
    table.to_csv(sample, index=False)
    (one,) = reported(place, "--reviewed", sample)["versions"]
    right = live.disaster[rows] == live.labels[rows]
    assert (one["labels"]["tweets"], one["labels"]["right"]) == (200, int(right.sum()))
    figure = one["estimated"]["accuracy"]
    assert figure["low"] <= live.accuracy <= figure["high"] < figure["low"] + 0.07
    table["label"] = np.where(rows % 6 == 0, 1 - live.labels[rows], live.labels[rows])
    table.to_csv(sample, index=False)
    (one,) = reported(place, "--reviewed", sample, status=4)["versions"]
    assert one["verdict"]["word"] == "act"
    table.assign(drawn="feedback").to_csv(sample, index=False)  # chosen, not drawn
    (one,) = reported(place, "--reviewed", sample)["versions"]
    assert one["labels"]["tweets"] == 0


def test_labels_of_a_repeated_tweet_count_once(place: Place) -> None:
    live = tweets(3, 300)
    lines = place.log(live)
    lines[7]["hash"] = lines[8]["hash"] = lines[6]["hash"]
    write(place.logs / "predictions-1.jsonl", lines)
    labels = pd.DataFrame({"id": ["r-7", "r-8", "r-9"], "label": [1, 0, 1], "drawn": "random"})
    labels.to_csv(place.folder / "labels.csv", index=False)
    report = reported(place, "--reviewed", place.folder / "labels.csv")
    counts = report["versions"][0]["labels"]
    assert (counts["tweets"], counts["total"]) == (2, 3)


def test_labels_do_not_judge_the_model_that_was_fitted_to_them(place: Place) -> None:
    live = tweets(3, 300)
    place.log(live)
    labels = pd.DataFrame({"id": ["r-1", "r-2"], "label": live.labels[1:3], "drawn": "random"})
    path = place.folder / "labels.csv"
    labels.to_csv(path, index=False)
    report = reported(place, "--reviewed", path)
    assert report["versions"][0]["labels"]["tweets"] == 2
    manifest = json.loads((place.model / "manifest.json").read_text())
    manifest["adaptation"] = {
        "labels": "labels.csv",
        "labels_sha256": sha256_of(path),
        "tweets": 2,
        "step": "calibration",
        "reason": "it is better",
        "auc": 0.9,
        "on_labels": {},
        "on_test": {},
    }
    (place.model / "manifest.json").write_text(json.dumps(manifest))
    report = reported(place, "--reviewed", path)
    assert report["versions"][0]["labels"]["tweets"] == 0


def test_two_versions(place: Place) -> None:
    other = make_model(place.folder / "other", note=0.5)
    place.log(tweets(3, 300))
    write(place.logs / "later.jsonl", lines_of(tweets(4, 250), other, prefix="o", **SHORT))
    report = reported(place)
    assert [one["version"] for one in report["versions"]] == [other, place.version]
    assert report["in_use"] == place.version  # the other one's reference was not named
    assert report["versions"][0]["verdict"] is None
    output = place.folder / "both"
    both = (place.folder / "other", place.model)
    assert "unknown: " in command(place.logs, "--model", *both, "--output", output)
    report = json.loads((output / "report.json").read_text())
    assert report["in_use"] == other
    assert [one["predictions"] for one in report["versions"]] == [250, 300]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("logs --model stranger", "the log is of model .*: name its folder"),
        ("logs --model bare", "reference"),
        ("logs --model nowhere", "no locked model here"),
        ("empty --model model", "the folder has no file"),
        ("logs --model model --since 2030-01-01", "no prediction in this period"),
        ("logs --model model --until 2020-01-01", "no prediction in this period"),
        ("logs --model model --feedback none.jsonl", "none.jsonl: no such"),
    ],
)
def test_an_error_is_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    make_model(place.folder / "stranger", note=0.5)
    (place.folder / "empty").mkdir()
    place.log(tweets(3, 50))
    bare = shutil.copytree(place.model, place.folder / "bare")
    next(bare.glob("reference*")).unlink()
    monkeypatch.chdir(place.folder)
    printed = command(*line.split(), status=1)
    assert re.search(message, printed)
    assert "\n" not in printed
    assert not (place.folder / "monitor-report").exists()
    assert "'last week' is no day" in command("logs", "--since", "last week", status=2)


def test_the_page_opens_anywhere(place: Place, browser: Browser) -> None:
    texts = [f"{text} <script>zorg()</script>" for text in TEXTS[:900]]
    lines = place.log(tweets(3, 900, longer=0.3), texts=texts)
    with (place.logs / "predictions-1.jsonl").open("a") as file:
        file.write("{broken\n")
    write(place.logs / "b.jsonl", lines_of(tweets(4, 20), "<b>other</b>", prefix="o"))
    feedback = write(place.folder / "f.jsonl", [verdict(lines[0], right=True)])
    reported(place, "--feedback", feedback, status=3)
    html = (place.folder / "report/report.html").read_text()
    assert not re.search(r"""(src|href)=["']?http""", html)
    assert "<script" not in html
    assert "<b>other" not in html
    for words in ("Look", "characters", "predictions-1.jsonl:901", "because nobody can know"):
        assert words in html
    page = browser.new_page(viewport={"width": 360, "height": 740})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"file://{place.folder}/report/report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("figure svg").count() == 4  # one of the other version's
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        axis = page.locator("figure svg text").first
        colours.add(axis.evaluate("e => getComputedStyle(e).fill"))
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 4
    page.close()
    assert complaints == []
