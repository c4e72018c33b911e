"""A teacher's answers to groups that it has learnt and to groups that it has not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from locked.manifest import Calibration
from stages import params
from stages.distill.groups import answers, folds_of
from stages.distill.stage import answer_groups
from stages.lock.calibration import fit, for_unseen_groups
from tests.bench.events import kinds
from tests.conftest import Project

EVENTS, OF_EACH = 6, 300


def linear(rows: int) -> Pipeline:
    assert rows >= OF_EACH
    return make_pipeline(LogisticRegression())


def world(split: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Tweets of events: a word of each event marks its disasters, a weaker one those of all."""
    chance = np.random.default_rng(split)
    event = np.repeat(np.arange(EVENTS), OF_EACH)
    truth = (chance.random(len(event)) < 0.5).astype(np.int8)
    vectors = chance.normal(0, 1, (len(event), EVENTS + 1)).astype(np.float32)
    vectors[np.arange(len(event)), event] += 3 * truth
    vectors[:, EVENTS] += 1.5 * truth
    return pd.DataFrame({"target": truth, "group": event.astype(str)}), vectors


def test_an_unseen_group_is_never_learnt() -> None:
    train, _ = world(0)
    folds = folds_of(train, 5)
    assert len(folds) == 5
    for fitted, left_out in folds:
        assert not set(train["group"][fitted]) & set(train["group"][left_out])
    answered = np.concatenate([left_out for _, left_out in folds])
    assert sorted(answered) == list(range(len(train)))


@pytest.mark.parametrize(
    "train",
    [
        pd.DataFrame({"target": [0, 1, 0, 1]}),
        pd.DataFrame({"target": [0, 1, 0, 1], "group": "a"}),
        pd.DataFrame({"target": [0, 0, 1, 1], "group": ["a", "a", "b", "b"]}),
    ],
    ids=["no groups", "one group", "a label a group"],
)
def test_without_usable_groups_there_are_no_folds(train: pd.DataFrame) -> None:
    assert folds_of(train, 5) == []


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    train = pd.DataFrame({"target": [0, 1] * 10, "group": ""})
    assert [len(left_out) for _, left_out in folds_of(train, 5)] == [4] * 5


def test_the_calibration_becomes_that_of_an_unseen_event() -> None:
    (train, vectors), (validation, others) = world(0), world(1)
    table = answers(train, validation, (vectors, others), folds_of(train, EVENTS), linear)
    assert table["judged"].value_counts().to_dict() == {"validation": 1800, "unseen": 1800}
    known, unseen = (
        fit(part["target"].to_numpy(), part["probability"].to_numpy())
        for part in (table[table["judged"] == by] for by in ("validation", "unseen"))
    )
    missed = [fitted.shift / fitted.scale for fitted in (known, unseen)]
    assert missed[1] > missed[0] + 0.3, "an unseen event's disasters are missed"
    assert for_unseen_groups(known, table) == unseen
    steeper = Calibration(scale=2 * known.scale, shift=known.shift)
    assert for_unseen_groups(steeper, table).scale == pytest.approx(2 * unseen.scale, abs=0.002)


def test_validation_tweets_of_a_new_group_count_as_unseen() -> None:
    train, vectors = world(0)
    validation, others = world(1)
    is_new = (validation["group"] == "0").to_numpy()
    rest = (train["group"] != "0").to_numpy()
    own = train[rest].reset_index(drop=True)
    table = answers(
        own, validation[is_new], (vectors[rest], others[is_new]), folds_of(own, 5), linear
    )
    assert table["judged"].value_counts().to_dict() == {"validation": 300, "unseen": 1800}


def test_a_corpus_with_kinds_of_event(pipeline: Project, tmp_path: Path) -> None:
    p = params.load(pipeline.folder / "params.yaml")
    for split in ("train", "validation"):
        tweets = pd.read_parquet(pipeline.folder / f"data/prepared/{split}.parquet")
        tweets.assign(group=kinds(tweets)).to_parquet(tmp_path / f"{split}.parquet")
    table = answer_groups(tmp_path, tmp_path / "groups.parquet", p)
    rows = {
        split: len(pd.read_parquet(tmp_path / f"{split}.parquet"))
        for split in ("train", "validation")
    }
    assert (table["judged"] == "validation").sum() == rows["validation"]
    assert (table["judged"] == "unseen").sum() >= rows["train"]
    assert pd.read_parquet(tmp_path / "groups.parquet").equals(table)


def test_a_corpus_without_groups_has_no_answers(pipeline: Project) -> None:
    assert len(pd.read_parquet(pipeline.folder / "data/groups.parquet")) == 0
