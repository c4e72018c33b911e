"""The report: what it holds, and a page that opens anywhere."""

import json
import re
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser

from common.hashing import sha256_of
from tests.conftest import CORPUS
from tests.monitor.conftest import (
    Place,
    command,
    lines_of,
    make_model,
    tweets,
    write,
)

TEXTS = pd.read_csv(CORPUS)["text"].astype(str).tolist()


def reported(place: Place, *arguments: object, status: int = 0) -> dict[str, Any]:
    output = place.folder / "report"
    options = ("--model", place.model, "--output", output, *arguments)
    printed = command(place.logs, *options, status=status)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    assert f"{report['verdict']['word']}: {report['verdict']['reason']}" in printed
    return report


def test_a_week_like_the_weeks_before_and_a_review_that_decides(place: Place) -> None:
    live = tweets(3, 900)
    place.log(live)
    one = reported(place)
    assert (one["verdict"]["word"], one["version"]) == ("unknown", place.version)
    assert (one["predictions"], one["tweets"], one["distinct"], one["texts"]) == (900, 900, 900, 0)
    figure = one["estimated"]["accuracy"]
    assert figure["low"] <= live.accuracy <= figure["high"]
    assert figure["value"] is None
    assert one["disasters"] == pytest.approx(live.disaster.mean())
    assert one["first"] == "2025-11-20 06:00"

    sample = place.folder / "sample.csv"
    command("review", place.logs, "--model", place.model, "--n", 200, "--output", sample)
    table = pd.read_csv(sample, dtype=str, keep_default_na=False)
    rows = table["id"].str.removeprefix("r-").astype(int)
    labels = live.labels[rows]
    table.assign(label=labels).to_csv(sample, index=False)
    one = reported(place, "--reviewed", sample)
    right = live.disaster[rows] == labels
    assert (one["labels"]["tweets"], one["labels"]["right"]) == (200, int(right.sum()))
    figure = one["estimated"]["accuracy"]
    assert figure["low"] <= live.accuracy <= figure["high"] < figure["low"] + 0.07
    table["label"] = np.where(rows % 6 == 0, 1 - labels, labels)
    table.to_csv(sample, index=False)
    one = reported(place, "--reviewed", sample, status=4)
    assert one["verdict"]["word"] == "act"


def test_labels_count_never_for_the_model_fitted_to_them(place: Place) -> None:
    place.log(tweets(3, 300))
    labels = pd.DataFrame({"id": ["r-8", "r-9", "x"], "label": [0, 1, 1]})
    labels.to_csv(path := place.folder / "labels.csv", index=False)
    counts = reported(place, "--reviewed", path)["labels"]
    assert (counts["tweets"], counts["total"], counts["unknown"]) == (2, 3, 1)
    manifest = json.loads((place.model / "manifest.json").read_text())
    adaptation = {"labels": path.name, "labels_sha256": sha256_of(path), "tweets": 2}
    manifest["adaptation"] = adaptation
    (place.model / "manifest.json").write_text(json.dumps(manifest))
    assert reported(place, "--reviewed", path)["labels"]["tweets"] == 0


def test_an_error_is_one_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(place.folder / "stranger", note=0.5)
    place.log(tweets(3, 50))
    bare = shutil.copytree(place.model, place.folder / "bare")
    next(bare.glob("reference*")).unlink()
    monkeypatch.chdir(place.folder)
    for line, message in {
        "--model stranger": "the log is of model .*: name the model's folder",
        "--model bare": "reference.json is missing",
        "--model nowhere": "no locked model here",
        "--model model --until 2020-01-01": "no prediction in this period",
        "--model model --reviewed none.csv": "none.csv: no such",
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
    path.write_text(path.read_text() + '{"schema": 1, "probability": ')
    write(place.logs / "b.jsonl", lines_of(tweets(4, 20), "<b>other</b>", prefix="o"))
    one = reported(place, status=3)
    assert one["verdict"]["word"] == "look"
    assert [name for name, e in one["effects"].items() if e["has_moved"]] == ["characters"]
    assert one["tweets"] == 450 + 2 * 450
    html = (place.folder / "report/report.html").read_text()
    assert not re.search(r"""(src|href)=["']?http""", html)
    assert "<script" not in html
    assert "<b>other" not in html
    for words in ("Look", "characters", "predictions-1.jsonl:901", "without labels it is unknown"):
        assert words in html
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"file://{place.folder}/report/report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("svg").count() == len(one["effects"])
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        band = page.locator("svg .band").first
        colours.add(band.evaluate("e => getComputedStyle(e).fill"))
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 4
    page.close()
