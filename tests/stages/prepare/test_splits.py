"""Splits at random, by group and by time; no near-duplicates in two of them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from common.errors import InputError
from stages.prepare.duplicates import Duplicates
from stages.prepare.splits import find_leaks, split_by_group, split_by_hash, split_by_time

HASHES = np.random.default_rng(1).integers(2**64, size=20_000, dtype=np.uint64)


def duplicates(near: npt.NDArray[np.int64]) -> Duplicates:
    return Duplicates(HASHES[: len(near)], np.arange(len(near)), near)


def check_shares(split: npt.NDArray[Any], tolerance: float) -> None:
    assert np.bincount(split) / len(split) == pytest.approx([0.7, 0.1, 0.2], abs=tolerance)


def grouped(groups: "pd.Series[str]", *held_out: str) -> npt.NDArray[np.int8]:
    return split_by_group(groups, duplicates(np.arange(len(groups))), 1, [*held_out], 0.1, 0.2)


def groups(count: int) -> "pd.Series[str]":
    return pd.Series([f"group {i % count}" for i in range(3000)])


@pytest.mark.parametrize("size", [1, 2, 10])
def test_shares_are_as_asked_however_many_are_alike(size: int) -> None:
    near = np.arange(20_000) // size
    split = split_by_hash(duplicates(near), validation=0.1, test=0.2)
    check_shares(split, 0.01 * size**0.5)
    assert not find_leaks(split, near, np.ones(20_000, bool)).any()


@pytest.mark.parametrize("count", [3, 6, 1000])
def test_a_group_is_in_one_split(count: int) -> None:
    split = grouped(groups(count))
    assert pd.Series(split).groupby(groups(count)).nunique().max() == 1
    assert set(split) == {0, 1, 2}
    if count == 1000:
        check_shares(split, 0.05)
    ungrouped = grouped(groups(count).where(np.arange(3000) % 2 == 0, ""))[1::2]
    check_shares(ungrouped, 0.05)  # rows without a group are drawn one by one


@pytest.mark.parametrize(
    ("count", "held_out", "reason"),
    [
        (6, ["group 2", "group 5"], None),
        (2, [], "prepare.group: 2 groups are too few: train, validation and test"),
        (3, ["flood"], "no group flood; the groups: group 0, group 1, group 2"),
        (3, ["group 0", "group 2"], "prepare.group: 3 groups are too few"),
    ],
)
def test_held_out_groups(count: int, held_out: list[str], reason: str | None) -> None:
    if reason:
        with pytest.raises(InputError, match=reason):
            grouped(groups(count), *held_out)
        return
    split = grouped(groups(count), *held_out)
    assert set(groups(count)[split == 2]) == set(held_out)
    assert set(split) == {0, 1, 2}


def test_the_past_trains_and_rows_at_the_border_stay_in_the_later_split() -> None:
    split = split_by_time(np.array([6, 1, 2, 3, 3, 3, 3, 4, 5, 5]), 0.2, 0.2)
    assert split.tolist() == [2, *[0] * 6, 1, 2, 2]


def test_a_near_duplicate_in_an_earlier_split_leaks() -> None:
    split, near = np.array([0, 2, 1, 2, 2], dtype=np.int8), np.array([5, 5, 3, 3, 1])
    keep = np.ones(5, bool)
    assert find_leaks(split, near, keep).tolist() == [False, True, False, True, False]
    keep[0] = False  # now the other one is in one split alone
    assert find_leaks(split, near, keep).tolist() == [False, False, False, True, False]
