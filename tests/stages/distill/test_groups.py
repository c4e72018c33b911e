"""A teacher's answers to groups that it has learnt and to groups that it has not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from locked.manifest import Calibration
from stages.distill.groups import answer_groups, make_folds
from stages.export.calibration import fit, for_unseen_groups

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
    folds = make_folds(train, 5)
    assert len(folds) == 5
    for fitted, left_out in folds:
        assert not set(train["group"][fitted]) & set(train["group"][left_out])
    assert sorted(np.concatenate([left_out for _, left_out in folds])) == list(range(len(train)))


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    train = pd.DataFrame({"target": [0, 1] * 10, "group": ""})
    assert [len(left_out) for _, left_out in make_folds(train, 5)] == [4] * 5


@pytest.mark.parametrize("group", [None, ["a"] * 4, ["a", "a", "b", "b"]])
def test_without_usable_groups_there_are_no_folds(group: list[str] | None) -> None:
    columns = {"target": [0, 0, 1, 1], **({"group": group} if group else {})}
    assert make_folds(pd.DataFrame(columns), 5) == []


def test_the_calibration_becomes_that_of_an_unseen_event() -> None:
    (train, vectors), (validation, others) = world(0), world(1)
    table = answer_groups(train, validation, (vectors, others), make_folds(train, EVENTS), linear)
    assert table["judged"].value_counts().to_dict() == {"validation": 1800, "unseen": 1800}
    learnt, unseen = (
        fit(part["target"].to_numpy(), part["probability"].to_numpy())
        for part in (table[table["judged"] == by] for by in ("validation", "unseen"))
    )
    missed = unseen.shift / unseen.scale - learnt.shift / learnt.scale
    assert missed > 0.3, "an unseen event's disasters are missed"
    assert for_unseen_groups(learnt, table) == unseen
    steeper = Calibration(scale=2 * learnt.scale, shift=learnt.shift)
    assert for_unseen_groups(steeper, table).scale == pytest.approx(2 * unseen.scale, abs=0.002)


def test_validation_tweets_of_a_new_group_count_as_unseen() -> None:
    (train, vectors), (validation, others) = world(0), world(1)
    rest, new = (np.flatnonzero(part) for part in (train["group"] != "0", train["group"] == "0"))
    own = train.iloc[rest].reset_index(drop=True)
    both = vectors[rest], others[new]
    table = answer_groups(own, validation.iloc[new], both, make_folds(own, 5), linear)
    assert table["judged"].value_counts().to_dict() == {"validation": 300, "unseen": 1800}
