"""Soft targets: between label and expectation, never from the tweet's own label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from stages.distill.stage import distill, embed
from stages.params import Params
from tests.conftest import Project


def weighted(p: Params, weight: float) -> Params:
    return p.model_copy(update={"distill": p.distill.model_copy(update={"weight": weight})})


@pytest.fixture
def data(pipeline: Project, tmp_path: Path) -> Path:
    """A copy of the training split, to be changed."""
    tweets = pd.read_parquet(pipeline.folder / "data/prepared/train.parquet")
    tweets.to_parquet(tmp_path / "train.parquet")
    return tmp_path


def test_targets_lie_between_label_and_expectation(pipeline: Project) -> None:
    tweets = pd.read_parquet(pipeline.folder / "data/prepared/train.parquet")
    targets = pd.read_parquet(pipeline.folder / "data/targets.parquet")
    weight = pipeline.params()["distill"]["weight"]
    assert targets["id"].tolist() == tweets["id"].tolist()
    off = (targets["target"] - tweets["target"]).abs()
    assert 0 < off.min() < 0.2 * weight
    assert 0.5 * weight < off.max() < weight


def test_the_expectation_is_better_than_chance(data: Path, p: Params, tmp_path: Path) -> None:
    quality = distill(data, tmp_path / "targets.parquet", p)
    truth = pd.read_parquet(data / "train.parquet")["target"]
    assert quality["accuracy"] > max(truth.mean(), 1 - truth.mean()) + 0.1


def test_a_wrong_label_is_doubted_from_the_others(data: Path, p: Params, tmp_path: Path) -> None:
    """Out of fold: what is expected of a tweet does not follow that tweet's own label."""
    tweets = pd.read_parquet(data / "train.parquet")
    before, after = tmp_path / "before.parquet", tmp_path / "after.parquet"
    distill(data, before, weighted(p, 0.5))
    surest = pd.read_parquet(before)["target"].to_numpy().argmax()
    assert tweets["target"][surest] == 1
    tweets.loc[surest, "target"] = 0
    tweets.to_parquet(data / "train.parquet")
    distill(data, after, weighted(p, 0.5))
    expected_then = pd.read_parquet(before)["target"][surest] * 2 - 1
    expected_now = pd.read_parquet(after)["target"][surest] * 2
    assert expected_then > 0.75
    assert expected_now > 0.5  # no closer: with another label, others are in its fold


def test_without_weight_the_labels_are_the_targets(data: Path, p: Params, tmp_path: Path) -> None:
    assert distill(data, tmp_path / "targets.parquet", weighted(p, 0.0)) == {}
    targets = pd.read_parquet(tmp_path / "targets.parquet")["target"]
    assert targets.tolist() == pd.read_parquet(data / "train.parquet")["target"].tolist()


def test_too_few_tweets_for_the_folds_is_an_error(data: Path, p: Params, tmp_path: Path) -> None:
    tweets = pd.read_parquet(data / "train.parquet")
    few = pd.concat([tweets[tweets["target"] == 0], tweets[tweets["target"] == 1].head(2)])
    few.to_parquet(data / "train.parquet")
    with pytest.raises(InputError, match=r"distill.folds: 2 training tweets .* 3 folds; set "):
        distill(data, tmp_path / "targets.parquet", p)
    assert not (tmp_path / "targets.parquet").exists()


def test_a_vector_depends_on_its_tweet_alone(data: Path, p: Params) -> None:
    tweets = pd.read_parquet(data / "train.parquet").head(100)
    vectors = embed(tweets, p)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    assert embed(tweets.tail(1), p)[0] == pytest.approx(vectors[-1], abs=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
