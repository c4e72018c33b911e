"""A sample is random, each tweet once, and says nothing of what the model answered."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from tests.monitor.conftest import Place, command, tweets, write

TEXTS = ["=1+1", "@someone look", "plain, with a comma\nand a line", *["tweet"] * 297]


@pytest.fixture
def logged(place: Place) -> Place:
    lines = place.log(tweets(3, 300), texts=TEXTS)
    for line in lines[100:]:
        line["hash"] = lines[100]["hash"]
    write(place.logs / "predictions-1.jsonl", lines)
    return place


def sample(place: Place, number: int, name: str = "sample.csv") -> tuple[int, str, Path]:
    path = place.folder / name
    status, said = command(
        "review", place.logs, "--model", place.model, "--n", number, "--output", path
    )
    return status, said, path


def test_each_tweet_once_and_the_model_unnamed(logged: Place) -> None:
    status, said, path = sample(logged, 500)
    assert (status, "101 tweets" in said) == (0, True)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table) == ["id", "text", "label", "drawn"]
    assert sorted(table["id"]) == sorted(f"r-{i}" for i in range(101))
    assert set(table["label"]) == {""}
    assert set(table["drawn"]) == {"random"}
    assert table["id"].tolist() != sorted(table["id"])
    with path.open(newline="") as file:
        texts = {row["id"]: row["text"] for row in csv.DictReader(file)}
    assert (texts["r-0"], texts["r-1"], texts["r-2"]) == ("'=1+1", "'@someone look", TEXTS[2])


def test_a_larger_sample_holds_the_smaller(logged: Place) -> None:
    small = pd.read_csv(sample(logged, 10, "small.csv")[2])
    large = pd.read_csv(sample(logged, 30, "large.csv")[2])
    assert large["id"][:10].tolist() == small["id"].tolist()


def test_labels_are_not_written_over(logged: Place) -> None:
    path = sample(logged, 10)[2]
    path.write_text("labelled")
    status, said, _ = sample(logged, 10)
    assert (status, "sample.csv exists and may hold labels" in said) == (1, True)
    assert path.read_text() == "labelled"


def test_another_models_log(logged: Place) -> None:
    manifest = logged.model / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"max_length":128', '"max_length":64'))
    status, said, _ = sample(logged, 10, "other.csv")
    assert (status, f"the log is of model {logged.version}, not of " in said) == (1, True)
