"""Assigns each row to the train, validation or test split."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from stages.prepare.duplicates import GOLDEN_RATIO, Duplicates, Ids

SPLITS = ("train", "validation", "test")
Split = npt.NDArray[np.int8]  # (rows,), index into SPLITS


def split_by_hash(duplicates: Duplicates, validation: float, test: float) -> Split:
    """Return a random split by hashes, with near-duplicates in one split.

    `validation` and `test` are shares. A new row can move only its near-duplicates.
    """
    lowest = np.full(duplicates.near.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, duplicates.near, duplicates.hashes)
    # The lowest of many hashes is low, so all tweets with many near-duplicates would get into one
    # split. The product with the golden ratio is uniform again.
    position = lowest * GOLDEN_RATIO / 2.0**64
    return _split_by_position(position[duplicates.near], validation, test)


def split_by_group(
    groups: "pd.Series[str]",
    duplicates: Duplicates,
    seed: int,
    held_out: list[str],
    validation: float,
    test: float,
) -> Split:
    """Return a split with each group in one split; a row without a group is drawn on its own.

    `held_out` names the groups of the test split; [] draws them at random. `validation` and `test`
    are shares of the groups.

    Raises InputError if a held-out group does not occur, or there are too few groups.
    """
    rows = groups.astype("category").cat
    names = np.asarray(rows.categories, dtype=object)
    is_named = names != ""
    if missing := sorted(set(held_out) - set(names[is_named])):
        shown = ", ".join(map(str, names[is_named][:20]))
        raise InputError(f"prepare.held_out: no group {', '.join(missing)}; the groups: {shown}")
    if is_named.sum() < len(SPLITS) or is_named.sum() - len(set(held_out)) < len(SPLITS) - 1:
        raise InputError(
            f"prepare.group: {is_named.sum()} groups are too few: train, validation and test need "
            "one each"
        )
    position = pd.util.hash_array(names, hash_key=f"{seed:016d}", categorize=False) / 2.0**64
    position = np.where(np.isin(names, held_out), -1.0, position)
    test = 0.0 if held_out else test
    split = _split_by_position(position, validation, test)
    ranked = np.flatnonzero(is_named)[np.argsort(position[is_named])]
    for number in (2, 1):  # with few groups, a split may be empty by chance: give it one
        if not (split[ranked] == number).any():
            split[ranked[split[ranked] != 2][0]] = number
    ungrouped = _split_by_position(duplicates.hashes / 2.0**64, validation, test)
    return np.where(groups.to_numpy() == "", ungrouped, split[rows.codes])


def split_by_time(times: Ids, validation: float, test: float) -> Split:
    """Return a split with the oldest rows for training and the newest for the test.

    `validation` and `test` are shares of the rows; rows of the same time stay in one split.
    """
    ordered = np.sort(times)
    bounds = [
        ordered[min(int(len(ordered) * share), len(ordered) - 1)]
        for share in (1 - validation - test, 1 - test)
    ]
    return np.searchsorted(bounds, times, side="right").astype(np.int8)


def find_leaks(split: Split, near: Ids, is_kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of the kept rows have a kept near-duplicate in an earlier split: (rows,)."""
    earliest = np.full(near.max() + 1, len(SPLITS), dtype=np.int8)
    np.minimum.at(earliest, near[is_kept], split[is_kept])
    return is_kept & (split > earliest[near])


def _split_by_position(position: npt.NDArray[np.float64], validation: float, test: float) -> Split:
    """Return test for the positions (in 0..1) below `test`, then validation, then train."""
    return np.select([position < test, position < test + validation], [2, 1], 0).astype(np.int8)
