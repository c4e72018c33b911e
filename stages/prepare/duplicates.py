"""Finds tweets that say the same, and those that nearly do, in bounded time and memory.

Nearly: of the words of both, seven in ten are in either. Pairs that may be that near are those with
a common key of MinHash (Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900) by locality
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3); each is then looked at.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from common.progress import Progress
from reader.canonical import canonical, is_cut

BANDS, ROWS = 24, 4  # a pair of similarity s has a key in common with 1 - (1 - s^4)^24: .999 at .7
NEAR = 0.7  # Jaccard similarity of the sets of words
LEAST_CUT = 8  # words before a cut; fewer begin many a tweet
PAIRS = 200_000  # looked at together
Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


class Kin(NamedTuple):
    """Who belongs together; each array has an entry for each row."""

    hashes: Hashes  # of the canonical text, seeded
    same: Rows  # rows of one number are one tweet
    near: Rows  # rows of one number, which may be different tweets, are much alike


class CanonicalTexts:
    """Collects what tweets say: some 160 bytes of each."""

    def __init__(self, seed: int) -> None:
        """`seed` is of the hashes in Kin."""
        self.seed = f"{seed:016d}"
        self._hashes: list[Hashes] = []
        self._cut: list[npt.NDArray[np.bool_]] = []
        self._words: list[npt.NDArray[np.uint32]] = []
        self._counts: list[npt.NDArray[np.int32]] = []
        self._keys: list[npt.NDArray[np.uint32]] = []

    def add(self, text: pyarrow.Array) -> None:
        """Take the next rows."""
        bare = canonical(text)
        # SipHash of 64 bits: two of 5 million different texts meet with p < 1e-6.
        values = np.asarray(bare, dtype=object)
        self._hashes.append(pd.util.hash_array(values, hash_key=self.seed, categorize=False))
        self._cut.append(np.asarray(is_cut(text)))
        words = pc.split_pattern(bare, " ")
        hashed = pd.util.hash_array(np.asarray(words.flatten(), dtype=object))
        counts = np.asarray(pc.list_value_length(words), dtype=np.int32)
        self._words.append((hashed >> 32).astype(np.uint32))
        self._counts.append(counts)
        self._keys.append(_keys(hashed, counts))

    def kin(self) -> Kin:
        """Tell who belongs together."""
        hashes = _joined(self._hashes)
        _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        texts = _Texts(_joined(self._words), _joined(self._counts), _joined(self._cut))
        keys = _joined(self._keys)[first]
        same, near = _linked(texts, first, hashes[first], keys)
        return Kin(hashes, same[which], near[which])


class _Texts(NamedTuple):
    words: npt.NDArray[np.uint32]  # of all rows, one after another
    counts: npt.NDArray[np.int32]  # (rows,)
    cut: npt.NDArray[np.bool_]  # (rows,)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Empty the list, so that the memory is not needed twice for longer than it takes."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _keys(words: Hashes, counts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """Return (rows, BANDS) keys of each row's set of words."""
    drawn = np.random.Generator(np.random.Philox(1)).integers(2**64, size=(96, 2), dtype=np.uint64)
    starts = np.cumsum(counts) - counts
    keys = np.zeros((len(counts), BANDS), dtype=np.uint64)
    for number, (factor, term) in enumerate(drawn):
        hashed = (words * (factor | np.uint64(1)) + term) >> np.uint64(48)
        keys[:, number // ROWS] = keys[:, number // ROWS] << np.uint64(16) | np.minimum.reduceat(
            hashed, starts
        )
    return ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)).astype(np.uint32)


def _linked(
    texts: _Texts, rows: Rows, hashes: Hashes, keys: npt.NDArray[np.uint32]
) -> tuple[Rows, Rows]:
    """Link canonical texts, each by a row that has it; return (texts,) numbers: same, near."""
    starts = np.cumsum(texts.counts, dtype=np.int64) - texts.counts
    starts, counts, cut = starts[rows], texts.counts[rows], texts.cut[rows]
    same_pairs, near_pairs = [np.empty((2, 0), np.int64)], [np.empty((2, 0), np.int64)]
    near = np.arange(len(rows))
    for band in Progress(range(BANDS), desc="prepare: near-duplicates", unit=" bands"):
        pairs = _candidates(keys[:, band], hashes)
        known = (near[pairs[0]] == near[pairs[1]]) & ~cut[pairs].any(axis=0)
        pairs = pairs[:, ~known]
        for start in range(0, pairs.shape[1], PAIRS):
            here = pairs[:, start : start + PAIRS]
            alike = _similarity(texts.words, starts, counts, here) >= NEAR
            begins = _begins(texts.words, starts, counts, cut, here)
            near_pairs.append(here[:, alike | begins])
            same_pairs.append(here[:, begins])
        near = _components(near_pairs, len(rows))
    return _components(same_pairs, len(rows)), near


def _candidates(keys: npt.NDArray[np.uint32], hashes: Hashes) -> Rows:
    """Pair each text with the one before it and the first of those with its key: (2, pairs)."""
    ranked = keys.astype(np.uint64) << np.uint64(32) | hashes >> np.uint64(32)
    order = np.argsort(ranked, kind="stable")
    key = keys[order]
    repeated = np.flatnonzero(key[1:] == key[:-1]) + 1
    begins = np.concatenate([[True], key[1:] != key[:-1]])
    first = np.maximum.accumulate(np.where(begins, np.arange(len(key)), 0))
    left = np.concatenate([repeated - 1, first[repeated]])
    right = np.concatenate([repeated, repeated])
    distant = np.concatenate([np.ones(len(repeated), bool), first[repeated] < repeated - 1])
    return np.stack([order[left[distant]], order[right[distant]]])


def _similarity(
    words: npt.NDArray[np.uint32], starts: Rows, counts: npt.NDArray[np.int32], pairs: Rows
) -> npt.NDArray[np.float64]:
    """Return the Jaccard similarity of the sets of words of each pair."""

    def words_of(side: Rows) -> Hashes:
        owner, place = _spread(starts[side], counts[side])
        return np.unique(owner.astype(np.uint64) << np.uint64(32) | words[place])

    left, right = words_of(pairs[0]), words_of(pairs[1])
    shared = np.intersect1d(left, right, assume_unique=True)
    of_left, of_right, both = (
        np.bincount((part >> np.uint64(32)).astype(np.int64), minlength=pairs.shape[1])
        for part in (left, right, shared)
    )
    return np.asarray(both / (of_left + of_right - both))


def _begins(
    words: npt.NDArray[np.uint32],
    starts: Rows,
    counts: npt.NDArray[np.int32],
    cut: npt.NDArray[np.bool_],
    pairs: Rows,
) -> npt.NDArray[np.bool_]:
    """Tell of each pair whether one is cut, and is the other one's beginning up to there."""
    result = np.zeros(pairs.shape[1], dtype=bool)
    for short, long in (pairs, pairs[::-1]):
        length = counts[short] - 1  # the last word may be cut itself
        may = np.flatnonzero(cut[short] & (length >= LEAST_CUT) & (counts[long] > length))
        owner, place = _spread(starts[short[may]], length[may])
        shift = (starts[long[may]] - starts[short[may]])[owner]
        differ = words[place] != words[place + shift]
        result[may] |= np.bincount(owner, weights=differ, minlength=len(may)) == 0
    return result


def _spread(starts: Rows, counts: npt.NDArray[np.int32]) -> tuple[Rows, Rows]:
    """Return, of each word of each text, which text it is of and where it lies."""
    owner = np.repeat(np.arange(len(starts)), counts)
    before = np.cumsum(counts, dtype=np.int64) - counts
    return owner, np.arange(len(owner)) - before[owner] + starts[owner]


def _components(pairs: list[Rows], count: int) -> Rows:
    left, right = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
