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


def reported(place: Place, *arguments: object, status: int = 0) -> dict[str, Any]:
    output = place.folder / "report"
    options = ("--model", place.model, "--output", output, *arguments)
    printed = command(place.logs, *options, status=status)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    in_use = next(one for one in report["versions"] if one["version"] == report["in_use"])
    assert f"{in_use['verdict']['word']}: {in_use['verdict']['reason']}" in printed
    return report


def test_a_week_like_the_weeks_before_and_a_review_that_decides(place: Place) -> None:
    live = tweets(3, 900)
    place.log(live)
    report = reported(place)
    (one,) = report["versions"]
    assert one["verdict"]["word"] == "unknown"
    assert one["version"] == report["in_use"] == place.version
    assert (one["predictions"], one["tweets"], one["distinct"], one["texts"]) == (900, 900, 900, 0)
    figure = one["estimated"]["accuracy"]
    assert figure["low"] <= live.accuracy <= figure["high"]
    assert figure["value"] is None
    assert sum(hour["tweets"] for hour in one["hours"]) == 900
    disasters = [hour["tweets"] for hour in one["hours"] if hour["series"] == "disaster"]
    assert sum(disasters) == live.disaster.sum()
    assert one["hours"][0]["time"] == "2025-11-20T06:00:00Z"

    sample = place.folder / "sample.csv"
    command("review", place.logs, "--model", place.model, "--n", 200, "--output", sample)
    table = pd.read_csv(sample, dtype=str, keep_default_na=False)
    rows = table["id"].str.removeprefix("r-").astype(int)
    labels = live.labels[rows]
    table.assign(label=labels).to_csv(sample, index=False)
    (one,) = reported(place, "--reviewed", sample)["versions"]
    right = live.disaster[rows] == labels
    assert (one["labels"]["tweets"], one["labels"]["right"]) == (200, int(right.sum()))
    figure = one["estimated"]["accuracy"]
    assert figure["low"] <= live.accuracy <= figure["high"] < figure["low"] + 0.07
    table["label"] = np.where(rows % 6 == 0, 1 - labels, labels)
    table.to_csv(sample, index=False)
    (one,) = reported(place, "--reviewed", sample, status=4)["versions"]
    assert one["verdict"]["word"] == "act"
    table.assign(drawn="feedback").to_csv(sample, index=False)  # chosen, not drawn
    (one,) = reported(place, "--reviewed", sample)["versions"]
    assert one["labels"]["tweets"] == 0


def test_labels_of_a_repeated_tweet_count_once_and_never_for_the_model_fitted_to_them(
    place: Place,
) -> None:
    lines = place.log(tweets(3, 300))
    lines[7]["hash"] = lines[8]["hash"] = lines[6]["hash"]
    write(place.logs / "predictions-1.jsonl", lines)
    labels = pd.DataFrame({"id": ["r-7", "r-8", "r-9"], "label": [1, 0, 1], "drawn": "random"})
    labels.to_csv(path := place.folder / "labels.csv", index=False)
    counts = reported(place, "--reviewed", path)["versions"][0]["labels"]
    right = sum(lines[i]["label"] == label for i, label in ((6, "not_disaster"), (9, "disaster")))
    assert (counts["tweets"], counts["total"], counts["right"]) == (2, 3, right)  # the last label
    manifest = json.loads((place.model / "manifest.json").read_text())
    adaptation = {"labels": path.name, "labels_sha256": sha256_of(path), "tweets": 2}
    manifest["adaptation"] = adaptation
    (place.model / "manifest.json").write_text(json.dumps(manifest))
    assert reported(place, "--reviewed", path)["versions"][0]["labels"]["tweets"] == 0


def test_two_versions(place: Place) -> None:
    other = make_model(place.folder / "other", note=0.5)
    place.log(tweets(3, 300))
    later = lines_of(tweets(4, 250), other, prefix="o", start=START + timedelta(days=2))
    write(place.logs / "later.jsonl", later)
    report = reported(place)
    assert [one["version"] for one in report["versions"]] == [other, place.version]
    assert report["in_use"] == place.version  # the other one's reference was not named
    assert report["versions"][0]["verdict"] is None
    report = reported(place, "--model", place.folder / "other", place.model)
    assert report["in_use"] == other
    assert [one["predictions"] for one in report["versions"]] == [250, 300]


def test_an_error_is_one_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(place.folder / "stranger", note=0.5)
    place.log(tweets(3, 50))
    bare = shutil.copytree(place.model, place.folder / "bare")
    next(bare.glob("reference*")).unlink()
    monkeypatch.chdir(place.folder)
    for line, message in {
        "--model stranger": "the log is of model .*: name its folder",
        "--model bare": "reference.json is missing",
        "--model nowhere": "no locked model here",
        "--model model --until 2020-01-01": "no prediction in this period",
        "--model model --feedback none.jsonl": "none.jsonl: no such",
    }.items():
        assert re.fullmatch(f".*{message}.*", command("logs", *line.split(), status=1))
    assert not (place.folder / "monitor-report").exists()
    assert "'last week' is no day" in command("logs", "--since", "last week", status=2)


def test_a_shift_and_a_page_that_opens_anywhere(place: Place, browser: Browser) -> None:
    live = tweets(3, 900, longer=0.3)
    lines = place.log(live, texts=[f"{text} <script>zorg()</script>" for text in TEXTS[:900]])
    for line in lines[450:]:
        line["rate"] = 0.5
    path = write(place.logs / "predictions-1.jsonl", lines)
    path.write_text(f"{path.read_text()}{{broken\n")
    write(place.logs / "b.jsonl", lines_of(tweets(4, 20), "<b>other</b>", prefix="o"))
    is_right = live.disaster == live.labels
    chosen = np.flatnonzero(~is_right | (np.arange(900) % 5 == 0))  # people click on what is wrong
    verdicts = [verdict(lines[i], right=bool(is_right[i])) for i in chosen]
    feedback = write(place.folder / "f.jsonl", verdicts)
    report = reported(place, "--feedback", feedback, status=3)
    one = next(one for one in report["versions"] if one["version"] == place.version)
    assert one["verdict"]["word"] == "look"
    assert [name for name, e in one["effects"].items() if e["has_moved"]] == ["characters"]
    assert one["tweets"] == 450 + 2 * 450
    assert one["feedback"]["tweets"] == len(verdicts)
    assert one["feedback"]["accuracy"]["high"] < live.accuracy
    html = (place.folder / "report/report.html").read_text()
    assert not re.search(r"""(src|href)=["']?http""", html)
    assert "<script" not in html
    assert "<b>other" not in html
    for words in ("Look", "characters", "predictions-1.jsonl:901", "without labels it is unknown"):
        assert words in html
    page = browser.new_page(viewport={"width": 360, "height": 740})
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
