"""Soft targets: between label and expectation, never from the tweet's own label."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from stages.distill.stage import distill, embed
from stages.params import Params
from tests.bench.kinds import kinds
from tests.conftest import Project


@pytest.fixture
def data(pipeline: Project, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pipeline.folder / "data/prepared", tmp_path / "data"))


@pytest.fixture
def tweets(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data / "train.parquet")


def run(data: Path, p: Params, weight: float) -> tuple[dict[str, float], pd.Series, pd.DataFrame]:
    """Return the teachers' quality, the targets and the answers to groups."""
    targets, groups = data / "targets.parquet", data / "groups.parquet"
    section = p.distill.model_copy(update={"weight": weight})
    quality = distill(data, targets, groups, p.model_copy(update={"distill": section}))
    return quality, pd.read_parquet(targets)["target"], pd.read_parquet(groups)


def test_targets_lie_between_label_and_expectation(
    pipeline: Project, p: Params, tweets: pd.DataFrame
) -> None:
    targets = pd.read_parquet(pipeline.folder / "data/targets.parquet")
    assert targets["id"].tolist() == tweets["id"].tolist()
    off = (targets["target"] - tweets["target"]).abs()
    assert 0 < off.min() < 0.2 * p.distill.weight
    assert 0.5 * p.distill.weight < off.max() < p.distill.weight


def test_a_wrong_label_is_doubted_from_the_others(
    data: Path, p: Params, tweets: pd.DataFrame
) -> None:
    """Out of fold: what is expected of a tweet does not follow that tweet's own label."""
    quality, before, groups = run(data, p, 0.5)
    chance = max(tweets["target"].mean(), 1 - tweets["target"].mean())
    assert chance + 0.1 < quality["accuracy"] < 0.95  # a fit to all labels would know most of them
    assert groups.empty
    surest = before.to_numpy().argmax()
    assert tweets["target"][surest] == 1
    tweets.loc[surest, "target"] = 0
    tweets.to_parquet(data / "train.parquet")
    after = run(data, p, 0.5)[1]
    assert before[surest] * 2 - 1 > 0.75
    assert after[surest] * 2 > 0.5  # no closer: with another label, others are in its fold


def test_without_weight_labels_are_the_targets_and_groups_are_answered(
    data: Path, p: Params, tweets: pd.DataFrame
) -> None:
    validation = pd.read_parquet(data / "validation.parquet")
    for split, table in (("train", tweets), ("validation", validation)):
        table.assign(group=kinds(table)).to_parquet(data / f"{split}.parquet")
    quality, targets, groups = run(data, p, 0.0)
    assert quality == {}
    assert targets.tolist() == tweets["target"].tolist()
    assert (groups["judged"] == "validation").sum() == len(validation)
    assert (groups["judged"] == "unseen").sum() >= len(tweets)


def test_too_few_tweets_for_the_folds_is_an_error(
    data: Path, p: Params, tweets: pd.DataFrame
) -> None:
    tweets.groupby("target").head(2).to_parquet(data / "train.parquet")
    with pytest.raises(InputError, match=r"distill.folds: 2 training tweets .* 3 folds; set "):
        run(data, p, 0.5)
    assert not (data / "targets.parquet").exists()


def test_a_vector_depends_on_its_tweet_alone(p: Params, tweets: pd.DataFrame) -> None:
    vectors = embed(tweets.head(100), p)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    assert embed(tweets.iloc[[99]], p)[0] == pytest.approx(vectors[-1], abs=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
