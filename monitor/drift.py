"""How far live tweets are from those that the model was judged on: sizes of effects, no p-values.

Two measures: the shift of each feature, which needs no texts, and how well words tell live tweets
from the training's. On CrisisLexT6, each of six events held out, words showed 70 of the 72 windows
that were half or wholly of the unseen event, features 25, a classifier of all features 35; none
gave an alarm in the 36 windows of known events. So there is no such classifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
from scipy.sparse import csr_matrix, vstack
from scipy.stats import binomtest, norm
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from locked.features import FEATURES
from reader.canonical import canonical

NEGLIGIBLE = 0.147  # Cliff's delta up to there is no effect (Romano et al. 2006)
DRIFTED = 0.6  # an AUC from there tells live tweets from others
POWER = 0.8  # with which the least change is found
LIVE = 200_000  # live tweets, at most: beside some hundred held-out ones, more tell no more
SAMPLE = 4000  # tweets a side that a classifier learns from, at most
FOLDS = 5
FEW = 50  # tweets a side, below which nothing is learnt
SEED = 0
WORDS = 12  # named, at most
SEEN = 5  # tweets that a word must occur in

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Effect:
    """Cliff's delta of live values to the reference's, in -1..1: above 0, live ones are larger.

    2 AUC - 1, where the AUC is the chance that a live value is the larger of two.
    """

    delta: float
    low: float
    high: float
    least: float  # the least effect that so many tweets would have shown to be one
    live: float  # median, of 0 and 1 the mean
    reference: float

    @property
    def moved(self) -> bool:
        """Whether the whole interval lies beyond what is negligible."""
        return max(self.low, -self.high) > NEGLIGIBLE


@dataclass(frozen=True)
class Told:
    """How well a classifier tells live tweets from others that it did not learn from."""

    auc: float
    low: float
    high: float
    least: float

    @property
    def drifted(self) -> bool:
        """Whether the whole interval lies beyond DRIFTED."""
        return self.low > DRIFTED


@dataclass(frozen=True)
class Word:
    """A word, and the share of the tweets of each side that have it."""

    word: str
    live: float
    known: float


def effect(reference: Floats, live: Floats, comparisons: int = 1) -> Effect:
    """Compare two samples, (m,) and (n,), with a 95 % interval over so many comparisons at once.

    The variance is DeLong's (DeLong et al. 1988), the correction Bonferroni's.
    """
    delta, error = _delta(reference, live)
    z = norm.ppf(1 - 0.025 / comparisons)
    binary = not set(np.unique(reference).tolist()) - {0.0, 1.0}
    middle = np.mean if binary else np.median
    return Effect(
        delta,
        float(max(-1.0, delta - z * error)),
        float(min(1.0, delta + z * error)),
        float(min(1.0, NEGLIGIBLE + (z + norm.ppf(POWER)) * error)),
        float(middle(live)),
        float(middle(reference)),
    )


def _delta(reference: Floats, live: Floats) -> tuple[float, float]:
    """Return Cliff's delta and its standard error."""
    values, places, sizes = np.unique(reference, return_inverse=True, return_counts=True)
    left, right = (np.searchsorted(values, live, side) for side in ("left", "right"))
    below = np.cumsum(np.bincount(right, minlength=len(values) + 1))[: len(values)]
    equal = np.bincount(left[left < right], minlength=len(values))
    above = 1 - (below + equal / 2) / len(live)  # of each reference value: live ones above it
    ranks = np.concatenate([[0], np.cumsum(sizes)])
    placed = (ranks[left] + ranks[right]) / 2 / len(reference)  # of live: reference ones below it
    error = 2 * np.sqrt(placed.var() / len(live) + above[places].var() / len(reference))
    # where the two do not overlap at all, they show no variance
    return float(2 * placed.mean() - 1), max(float(error), 1 / len(reference), 1 / len(live))


def effects(
    reference: Floats, live: Floats, reference_scores: Floats, live_scores: Floats
) -> dict[str, Effect]:
    """Compare each feature, (m, features) and (n, features), and the score; {} without any."""
    columns = {name: (reference[:, i], live[:, i]) for i, name in enumerate(FEATURES)}
    columns["score"] = (reference_scores, live_scores)
    known = {name: (ours, now[np.isfinite(now)]) for name, (ours, now) in columns.items()}
    return {
        name: effect(ours, now, len(columns)) for name, (ours, now) in known.items() if len(now)
    }


def told_by_words(known: Sequence[str], live: Sequence[str]) -> tuple[Told | None, list[Word]]:
    """Return how well a classifier tells live texts from known ones by their words, and which.

    Words are named where it tells them apart; None stands for too few texts.
    """
    sides = [_canonical_sample(texts) for texts in (known, live)]
    counter = CountVectorizer(binary=True, min_df=SEEN, max_features=20_000)
    try:
        counts = counter.fit_transform(np.concatenate(sides)).astype(np.float64)
    except ValueError:  # no word occurs so often
        return None, []
    size = len(sides[0])
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=200)
    told = _told(model, counts[:size], counts[size:])
    if told is None or not told.drifted:
        return told, []
    model.fit(counts, np.arange(counts.shape[0]) >= size)
    names = counter.get_feature_names_out()
    seen = [np.asarray(part.sum(axis=0)).ravel() for part in (counts[size:], counts[:size])]
    words = []
    for place in np.argsort(-model.coef_[0])[: 10 * WORDS]:
        ours, theirs = (
            binomtest(int(of[place]), total).proportion_ci(0.99, method="wilson")
            for of, total in zip(seen, (counts.shape[0] - size, size), strict=True)
        )
        if ours.low > theirs.high:
            shares = seen[0][place] / (counts.shape[0] - size), seen[1][place] / size
            words.append(Word(str(names[place]), *map(float, shares)))
    return told, words[:WORDS]


def _canonical_sample(texts: Sequence[str]) -> npt.NDArray[np.object_]:
    """Return the distinct canonical texts of a sample."""
    chosen = some(np.array(texts, dtype=object), SAMPLE)
    return np.unique(np.asarray(canonical(pyarrow.array(chosen, pyarrow.string())), dtype=object))


def some(rows: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Return a sample of so many rows at most, in their order."""
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(SEED).choice(len(rows), most, replace=False, shuffle=False)
    return rows[np.sort(chosen)]


def _told(model: LogisticRegression, known: csr_matrix, live: csr_matrix) -> Told | None:
    """Cross-fit a classifier and judge it on the rows that it did not learn from."""
    sizes = [side.shape[0] for side in (known, live)]
    if min(sizes) < FEW:
        return None
    rows = vstack([known, live]).tocsr()
    truth = np.repeat([0, 1], sizes)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, rows, truth, cv=folds, method="predict_proba")[:, 1]
    delta, error = _delta(scores[truth == 0], scores[truth == 1])
    auc, z = (1 + delta) / 2, norm.ppf(0.975)
    reach = z * error / 2
    least = DRIFTED + (z + norm.ppf(POWER)) * error / 2
    return Told(
        auc, float(max(0.0, auc - reach)), float(min(1.0, auc + reach)), float(min(1.0, least))
    )
