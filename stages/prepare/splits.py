"""Places each row in the train, validation or test split."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from stages.prepare.duplicates import Duplicates, Ids

SPLITS = ("train", "validation", "test")
Split = npt.NDArray[np.int8]  # (rows,) index into SPLITS


def by_hash(duplicates: Duplicates, validation: float, test: float) -> Split:
    """Split at random by hashes: near-duplicates stay together; a new row moves only those."""
    lowest = np.full(duplicates.near.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, duplicates.near, duplicates.hashes)
    # The lowest of many hashes is low. Multiplied, it is uniform again; otherwise one split would
    # get all tweets that have many near-duplicates.
    position = lowest * np.uint64(0x9E3779B97F4A7C15) / 2.0**64
    return _by_position(position[duplicates.near], validation, test)


def by_group(
    groups: "pd.Series[str]",
    duplicates: Duplicates,
    seed: int,
    held_out: list[str],
    validation: float,
    test: float,
) -> Split:
    """Keep each group in one split; a row without a group is a group of its own.

    `held_out` names the groups of the test split; [] draws them. The shares are of the groups.

    Raises InputError if a held-out group does not occur, or too few others are left.
    """
    rows = groups.astype("category").cat
    names = np.asarray(rows.categories, dtype=object)
    named = names != ""
    if missing := sorted(set(held_out) - set(names[named])):
        shown = ", ".join(map(str, names[named][:20]))
        raise InputError(f"prepare.held_out: no group {', '.join(missing)}; the groups: {shown}")
    if named.sum() < len(SPLITS):
        raise InputError(f"prepare.group: {named.sum()} groups are too few for three splits")
    if named.sum() - len(set(held_out)) < len(SPLITS) - 1:
        raise InputError(
            f"prepare.held_out: of {named.sum()} groups, two must be left, to train and to validate"
        )
    position = pd.util.hash_array(names, hash_key=f"{seed:016d}", categorize=False) / 2.0**64
    position = np.where(np.isin(names, held_out), -1.0, position)
    split = _by_position(position, validation, 0.0 if held_out else test)
    ranked = np.flatnonzero(named)[np.argsort(position[named])]
    for number in (2, 1):  # of few groups, chance may give a split none
        if not (split[ranked] == number).any():
            split[ranked[split[ranked] != 2][0]] = number
    alone = _by_position(duplicates.hashes / 2.0**64, validation, 0.0 if held_out else test)
    return np.where(groups.to_numpy() == "", alone, split[rows.codes])


def by_time(times: Ids, validation: float, test: float) -> Split:
    """Train on the past and judge on the future; rows of one time stay together."""
    ordered = np.sort(times)
    cuts = [
        ordered[min(int(len(ordered) * share), len(ordered) - 1)]
        for share in (1 - validation - test, 1 - test)
    ]
    return np.searchsorted(cuts, times, side="right").astype(np.int8)


def leaking(split: Split, near: Ids, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of the rows to keep have a near-duplicate in an earlier split."""
    earliest = np.full(near.max() + 1, len(SPLITS), dtype=np.int8)
    np.minimum.at(earliest, near[keep], split[keep])
    return keep & (split > earliest[near])


def _by_position(position: npt.NDArray[np.float64], validation: float, test: float) -> Split:
    return np.select([position < test, position < test + validation], [2, 1], 0).astype(np.int8)
