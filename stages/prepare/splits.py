"""Which tweets a model learns from, is chosen by and is judged on."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from stages.prepare.duplicates import Kin, Rows

SPLITS = ("train", "validation", "test")
Split = npt.NDArray[np.int8]  # (rows,) index into SPLITS


def by_hash(kin: Kin, validation: float, test: float) -> Split:
    """Split at random, stably: what is alike goes together, and moves only with its kin."""
    lowest = np.full(kin.near.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, kin.near, kin.hashes)
    # Multiplied, for the lowest of many is low, and one split would get all that are much repeated.
    place = lowest * np.uint64(0x9E3779B97F4A7C15) / 2.0**64
    return _cut(place[kin.near], validation, test)


def by_group(
    groups: "pd.Series[str]",
    kin: Kin,
    seed: int,
    held_out: list[str],
    validation: float,
    test: float,
) -> Split:
    """Keep each group in one split; a row without one is a group of its own.

    Args:
        groups: (rows,) of any spelling.
        kin: of the rows.
        seed: of the draw.
        held_out: the groups of the test split; [] draws them.
        validation: share of the groups.
        test: likewise.

    Raises:
        InputError: a group to hold out does not occur, or there are too few of the others.

    """
    names = groups.astype("category").cat
    categories = np.asarray(names.categories, dtype=object)
    known = categories[categories != ""]
    if lacking := sorted(set(held_out) - set(known)):
        shown = ", ".join(map(str, known[:20]))
        raise InputError(
            f"prepare.held_out: there is no group {', '.join(lacking)}; there are: {shown}"
        )
    place = pd.util.hash_array(categories, hash_key=f"{seed:016d}", categorize=False) / 2.0**64
    place = np.where(np.isin(categories, held_out), -1.0, place)
    if held_out:
        test = 0.0
    ranked = np.argsort(np.where(categories == "", np.inf, place))
    if len(known) < len(SPLITS):
        raise InputError(f"prepare.group: {len(known)} groups are too few for three splits")
    if len(known) - len(set(held_out)) < len(SPLITS) - 1:
        raise InputError(
            f"prepare.held_out: of {len(known)} groups, two must be left: to learn from, and to "
            "choose the model by"
        )
    split = _cut(place, validation, test)
    if not (split[ranked[: len(known)]] == 2).any():  # of few groups none may lie there
        split[ranked[0]] = 2
    if not (split[ranked[: len(known)]] == 1).any():
        split[ranked[np.flatnonzero(split[ranked] != 2)[0]]] = 1
    alone = _cut(kin.hashes / 2.0**64, validation, test)
    return np.where(groups.to_numpy() == "", alone, split[names.codes])


def by_time(times: Rows, validation: float, test: float) -> Split:
    """Let the past learn and the future judge; what happened at once stays together."""
    ordered = np.sort(times)
    cuts = [
        ordered[min(int(len(ordered) * share), len(ordered) - 1)]
        for share in (1 - validation - test, 1 - test)
    ]
    return np.searchsorted(cuts, times, side="right").astype(np.int8)


def leaking(split: Split, near: Rows, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which of the kept rows are much like a kept one of an earlier split."""
    earliest = np.full(near.max() + 1, len(SPLITS), dtype=np.int8)
    np.minimum.at(earliest, near[kept], split[kept])
    return kept & (split > earliest[near])


def _cut(place: npt.NDArray[np.float64], validation: float, test: float) -> Split:
    return np.select([place < test, place < test + validation], [2, 1], 0).astype(np.int8)
