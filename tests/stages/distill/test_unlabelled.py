"""Unlabelled tweets of an event become examples to learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from common.errors import InputError
from stages.distill.stage import distill
from stages.distill.unlabelled import read_unlabelled, recalibrate
from stages.params import Params
from stages.train.stage import train
from tests.bench.kinds import kinds
from tests.conftest import Project


@pytest.fixture
def data(pipeline: Project, tmp_path: Path) -> Path:
    """The splits, with the kind of event as the group."""
    for split in ("train", "validation", "test"):
        tweets = pd.read_parquet(pipeline.folder / f"data/prepared/{split}.parquet")
        tweets.assign(group=kinds(tweets)).to_parquet(tmp_path / f"{split}.parquet")
    return tmp_path


def test_unlabelled_tweets_follow_the_training_tweets(data: Path, p: Params) -> None:
    old, test = (pd.read_parquet(data / f"{split}.parquet")["text"] for split in ("train", "test"))
    texts = [f"letters {n} of another island {n * 7} with boats {n * 3}" for n in range(30)]
    fire, song = "Fire destroys homes, families evacuated", "this song makes me so happy today"
    event = pd.DataFrame({"text": [*texts, texts[0], f"RT @friend: {test[0]}", fire, song]})
    event.to_csv(data / "storm.csv", index=False)
    files = data / "targets.parquet", data / "groups.parquet"
    distill(data, *files, p, data / "storm.csv")
    examples = pd.read_parquet(data / "targets.parquet")
    assert examples["text"].head(len(old)).equals(old)
    new = examples.iloc[len(old) :]
    assert sorted(new["text"]) == sorted([*texts, fire, song])
    targets = dict(zip(new["text"], new["target"], strict=True))
    assert 0 < targets[song] < targets[fire] < 1
    best = train(data, files[0], data / "model", data / "history", data / "checkpoints", p)
    assert best["epoch"] >= 1  # it accepts more examples than training tweets


def test_a_draw_has_a_fixed_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [f"word{n} other{n * 3} third{n * 5}" for n in range(50)]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "storm.csv", index=False)
    drawn = read_unlabelled(tmp_path / "storm.csv", texts[:10], 20, 42)
    assert len(set(drawn)) == 20
    assert not set(drawn) & set(texts[:10])
    assert "storm.csv: 50 tweets, 10 of them duplicates or" in capsys.readouterr().out
    assert read_unlabelled(tmp_path / "storm.csv", texts[:10], 20, 42) == drawn


@pytest.mark.parametrize(
    ("content", "message"),
    [("id,tweet\n1,flood\n", "column text"), ("text\n", "no text is left")],
)
def test_a_file_without_texts_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "storm.csv").write_text(content)
    with pytest.raises(InputError, match=rf"storm.csv.* {message}"):
        read_unlabelled(tmp_path / "storm.csv", ["another text"], 20, 42)


def test_without_groups_a_teacher_cannot_be_calibrated(data: Path, p: Params) -> None:
    tweets = pd.read_parquet(data / "train.parquet").drop(columns="group")
    tweets.to_parquet(data / "train.parquet")
    (data / "storm.csv").write_text("text\nflood in town\n")
    files = data / "targets.parquet", data / "groups.parquet"
    with pytest.raises(InputError, match=r"distill.unlabelled: .* Set prepare.group"):
        distill(data, *files, p, data / "storm.csv")
    assert not files[0].exists()


def test_probabilities_are_calibrated_on_judged_ones() -> None:
    odds = np.random.default_rng(0).normal(0, 2, 5000)
    truth = (np.random.default_rng(1).random(5000) < expit(0.5 * odds + 1)).astype(np.int8)
    probabilities = recalibrate(expit(np.array([-2.0, 2.0])), expit(odds), truth)
    assert probabilities == pytest.approx(expit(np.array([0.0, 2.0])), abs=0.03)
