"""Finds duplicates and near-duplicates among millions of tweets, in bounded time and memory.

Duplicates have the same canonical text, or one is truncated and the other begins with its words.
Near-duplicates: at least 70 % of the words that occur in either tweet occur in both (Jaccard
similarity 0.7 or more). Only pairs with a common MinHash key (Broder 1997,
https://doi.org/10.1109/SEQUEN.1997.666900) are compared, by locality-sensitive hashing (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, chapter 3).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from common.progress import Progress
from reader.canonical import canonicalise, is_cut

BANDS, BAND_ROWS = 24, 4  # a pair of similarity s has a common key with p = 1 - (1 - s^4)^24
MIN_SIMILARITY = 0.7  # of near-duplicates; there p = .999
MIN_WORDS = 8  # of a truncated duplicate: many different tweets begin with the same few words
PAIRS = 200_000  # compared at once
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio; a product mixes the bits
Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Duplicates(NamedTuple):
    """Which rows are duplicates and near-duplicates; all arrays are (rows,)."""

    hashes: Hashes  # of the canonical text, seeded
    same: Ids  # equal numbers: duplicates, one tweet
    near: Ids  # equal numbers: linked by a chain of near-duplicates


class _Texts(NamedTuple):
    """Different canonical texts as hashed words: about 160 bytes a tweet."""

    hashes: Hashes
    keys: npt.NDArray[np.uint32]  # (texts, BANDS); similar texts have equal ones
    starts: Ids  # (texts,), index of the first word in `words`
    counts: npt.NDArray[np.int32]  # (texts,), number of words
    is_cut: Bools  # (texts,)
    words: npt.NDArray[np.uint32]  # of all rows, concatenated


def find_duplicates(texts: pyarrow.ChunkedArray, seed: int) -> Duplicates:
    """Return the duplicates among texts; `seed` is the key of their hashes."""
    parts = [_hash_texts(chunk, seed) for chunk in texts.chunks if len(chunk)]
    hashes, keys, counts, cuts, words = map(np.concatenate, zip(*parts, strict=True))
    _, rows, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    starts = np.cumsum(counts, dtype=np.int64) - counts
    columns = (part[rows] for part in (hashes, keys, starts, counts, cuts))
    same, near = _link(_Texts._make([*columns, words]))
    return Duplicates(hashes, same[inverse], near[inverse])


def _hash_texts(texts: pyarrow.Array, seed: int) -> tuple[npt.NDArray[np.generic], ...]:
    """Return hash, keys, number of words and `is_cut` of each text, and the hashes of all words."""
    canonical = canonicalise(texts)
    # SipHash of 64 bits: two of 5 million different texts collide with p < 1e-6.
    values = np.asarray(canonical, dtype=object)
    hashes = pd.util.hash_array(values, hash_key=f"{seed:016d}", categorize=False)
    words = pc.split_pattern(canonical, " ")
    word_hashes = pd.util.hash_array(np.asarray(words.flatten(), dtype=object))
    counts = np.asarray(pc.list_value_length(words), dtype=np.int32)
    keys = _minhash_keys(word_hashes, counts)
    upper_halves = (word_hashes >> np.uint64(32)).astype(np.uint32)
    return hashes, keys, counts, np.asarray(is_cut(texts)), upper_halves


def _minhash_keys(words: Hashes, counts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """Return the MinHash keys of each row's set of words: (rows, BANDS)."""
    chance = np.random.Generator(np.random.Philox(1))
    functions = chance.integers(2**64, size=(BANDS * BAND_ROWS, 2), dtype=np.uint64)
    starts = np.cumsum(counts) - counts
    keys = np.zeros((len(counts), BANDS), dtype=np.uint64)
    for number, (factor, term) in enumerate(functions):
        hashed = (words * (factor | np.uint64(1)) + term) >> np.uint64(48)
        band = number // BAND_ROWS
        keys[:, band] = keys[:, band] << np.uint64(16) | np.minimum.reduceat(hashed, starts)
    return ((keys * GOLDEN_RATIO) >> np.uint64(32)).astype(np.uint32)


def _link(texts: _Texts) -> tuple[Ids, Ids]:
    """Return `same` and `near` of `Duplicates`, but for each text: (texts,) each."""
    count = len(texts.hashes)
    same_pairs, near_pairs = [np.empty((2, 0), np.int64)], [np.empty((2, 0), np.int64)]
    near = np.arange(count)
    for band in Progress(range(BANDS), desc="prepare: near-duplicates", unit=" bands"):
        candidates = _candidate_pairs(texts.keys[:, band], texts.hashes)
        has_cut_text = texts.is_cut[candidates].any(axis=0)
        is_linked = (near[candidates[0]] == near[candidates[1]]) & ~has_cut_text
        candidates = candidates[:, ~is_linked]
        for start in range(0, candidates.shape[1], PAIRS):
            pairs = candidates[:, start : start + PAIRS]
            is_same = _is_truncation(texts, pairs)
            is_near = is_same | (_similarity(texts, pairs) >= MIN_SIMILARITY)
            near_pairs.append(pairs[:, is_near])
            same_pairs.append(pairs[:, is_same])
        near = _components(near_pairs, count)
    return _components(same_pairs, count), near


def _candidate_pairs(keys: npt.NDArray[np.uint32], hashes: Hashes) -> Ids:
    """Return pairs of texts with the same key: (2, pairs).

    Among the texts of a key, sorted by hash, each is paired with the one before it and the first.
    """
    ranked = keys.astype(np.uint64) << np.uint64(32) | hashes >> np.uint64(32)
    order = np.argsort(ranked, kind="stable")
    key = keys[order]
    is_first = np.concatenate([[True], key[1:] != key[:-1]])
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(key)), 0))
    others = np.flatnonzero(~is_first)
    distant = others[first[others] < others - 1]
    left = np.concatenate([others - 1, first[distant]])
    return np.stack([order[left], order[np.concatenate([others, distant])]])


def _similarity(texts: _Texts, pairs: Ids) -> npt.NDArray[np.float64]:
    """Return the Jaccard similarity of the sets of words of each pair."""

    def words_of(side: Ids) -> Hashes:
        owners, indexes = _word_indexes(texts.starts[side], texts.counts[side])
        return np.unique(owners.astype(np.uint64) << np.uint64(32) | texts.words[indexes])

    left, right = words_of(pairs[0]), words_of(pairs[1])
    shared = np.intersect1d(left, right, assume_unique=True)
    of_left, of_right, both = (
        np.bincount((part >> np.uint64(32)).astype(np.int64), minlength=pairs.shape[1])
        for part in (left, right, shared)
    )
    return np.asarray(both / (of_left + of_right - both))


def _is_truncation(texts: _Texts, pairs: Ids) -> Bools:
    """Return whether one text of a pair is cut and the other begins with its words: (pairs,)."""
    result = np.zeros(pairs.shape[1], dtype=bool)
    for short, long in (pairs, pairs[::-1]):
        length = texts.counts[short] - 1  # without the last word, which may be cut itself
        is_long_enough = (length >= MIN_WORDS) & (texts.counts[long] > length)
        candidates = np.flatnonzero(texts.is_cut[short] & is_long_enough)
        owners, indexes = _word_indexes(texts.starts[short[candidates]], length[candidates])
        shift = (texts.starts[long[candidates]] - texts.starts[short[candidates]])[owners]
        is_different = texts.words[indexes] != texts.words[indexes + shift]
        differences = np.bincount(owners, weights=is_different, minlength=len(candidates))
        result[candidates] |= differences == 0
    return result


def _word_indexes(starts: Ids, counts: npt.NDArray[np.int32]) -> tuple[Ids, Ids]:
    """Return of each word of each text the number of the text and the word's index."""
    owners = np.repeat(np.arange(len(starts)), counts)
    before = np.cumsum(counts, dtype=np.int64) - counts
    return owners, np.arange(len(owners)) - before[owners] + starts[owners]


def _components(pairs: list[Ids], count: int) -> Ids:
    """Return the number of each text's connected component in the graph of pairs: (count,)."""
    left, right = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
