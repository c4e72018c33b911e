"""Random, by group or by time; never alike on both sides."""

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from stages.prepare.duplicates import Kin
from stages.prepare.splits import by_group, by_hash, by_time, leaking

HASHES = np.random.default_rng(1).integers(2**64, size=20_000, dtype=np.uint64)


def kin(near: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Kin:
    return Kin(HASHES[: len(near)], np.arange(len(near)), near)


def shares(split: "np.ndarray[tuple[int], np.dtype[np.int8]]") -> list[float]:
    return list(np.bincount(split, minlength=3) / len(split))


@pytest.mark.parametrize("size", [1, 2, 10])
def test_shares_are_as_asked_however_many_are_alike(size: int) -> None:
    near = np.arange(20_000) // size
    split = by_hash(kin(near), validation=0.1, test=0.2)
    assert shares(split) == pytest.approx([0.7, 0.1, 0.2], abs=0.01 * size**0.5)
    assert not leaking(split, near, np.ones(20_000, bool)).any()


def test_a_new_row_moves_its_kin_alone() -> None:
    near = np.arange(1000)
    before = by_hash(kin(near), 0.1, 0.2)
    after = by_hash(kin(np.append(near, 7)), 0.1, 0.2)
    moved = np.flatnonzero(before != after[:1000])
    assert set(moved) <= {7}


def groups(count: int, rows: int = 3000) -> "pd.Series[str]":
    return pd.Series([f"group {i % count}" for i in range(rows)])


@pytest.mark.parametrize("count", [3, 6, 1000])
def test_a_group_is_in_one_split(count: int) -> None:
    named = groups(count)
    split = by_group(named, kin(np.arange(3000)), 1, [], validation=0.1, test=0.2)
    assert pd.Series(split).groupby(named).nunique().max() == 1
    assert set(split) == {0, 1, 2}
    if count == 1000:
        assert shares(split) == pytest.approx([0.7, 0.1, 0.2], abs=0.05)


def test_the_groups_to_hold_out_judge() -> None:
    named = groups(6)
    split = by_group(named, kin(np.arange(3000)), 1, ["group 2", "group 5"], 0.1, 0.2)
    assert set(named[split == 2]) == {"group 2", "group 5"}
    assert {1, 0} < set(split)


def test_rows_without_a_group_are_on_their_own() -> None:
    named = groups(6).where(np.arange(3000) % 2 == 0, "")
    split = by_group(named, kin(np.arange(3000)), 1, [], 0.1, 0.2)
    assert shares(split[1::2]) == pytest.approx([0.7, 0.1, 0.2], abs=0.05)


def test_groups_that_cannot_be_split_are_named() -> None:
    with pytest.raises(InputError, match=r"prepare.group: 2 groups are too few"):
        by_group(groups(2), kin(np.arange(3000)), 1, [], 0.1, 0.2)
    with pytest.raises(InputError, match=r"no group flood; there are: group 0, group 1, group 2"):
        by_group(groups(3), kin(np.arange(3000)), 1, ["flood"], 0.1, 0.2)
    with pytest.raises(InputError, match=r"prepare.held_out: of 3 groups, two must be left"):
        by_group(groups(3), kin(np.arange(3000)), 1, ["group 0", "group 2"], 0.1, 0.2)


def test_the_past_learns_and_the_future_judges() -> None:
    times = np.random.default_rng(2).permutation(1000) // 4  # four at a time
    split = by_time(times, 0.1, 0.2)
    assert shares(split) == pytest.approx([0.7, 0.1, 0.2], abs=0.01)
    assert times[split == 0].max() < times[split == 1].min()
    assert times[split == 1].max() < times[split == 2].min()


def test_what_an_earlier_split_has_alike_leaks() -> None:
    split = np.array([0, 2, 1, 2, 2], dtype=np.int8)
    near = np.array([5, 5, 3, 3, 1])
    kept = np.ones(5, bool)
    assert leaking(split, near, kept).tolist() == [False, True, False, True, False]
    kept[0] = False  # then the other is nowhere else
    assert leaking(split, near, kept).tolist() == [False, False, False, True, False]
