"""Drift of live tweets from the held-out ones: effect sizes, no p-values.

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
from scipy.stats import binomtest, norm, rankdata
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from locked.features import FEATURES
from reader.canonical import canonical_texts

NEGLIGIBLE = 0.147  # Cliff's delta up to there is no effect (Romano et al. 2006)
SIMILAR = 0.2  # likewise, of a classifier's scores: an AUC of 0.6
POWER = 0.8  # with which the least effect is detected
LIVE = 200_000  # live tweets, at most: beside some hundred held-out ones, more tell no more
TEXTS = 4000  # a side that the classifier learns from, at most
FOLDS = 5
FEW = 50  # texts a side, below which nothing is learnt
SEED = 0
WORDS = 12  # named, at most
OCCURRENCES = 5  # tweets that a word must occur in

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Effect:
    """Cliff's delta of live values to the reference's, in -1..1: above 0, live ones are larger.

    2 AUC - 1, where the AUC is the chance that a live value is the larger of two.
    """

    delta: float
    low: float
    high: float
    moved: bool  # whether the whole interval lies beyond what is negligible
    least: float  # the least effect that so many tweets would show as one
    live: float  # median, of 0 and 1 the mean
    reference: float


@dataclass(frozen=True)
class Word:
    """A word, and the share of the tweets of each side that have it."""

    word: str
    live: float
    training: float


def effect(
    reference: Floats, live: Floats, comparisons: int = 1, negligible: float = NEGLIGIBLE
) -> Effect:
    """Compare two samples, (m,) and (n,), with a 95 % interval over so many comparisons at once.

    The variance is DeLong's (DeLong et al. 1988), the correction Bonferroni's.
    """
    m, n = len(reference), len(live)
    ranks = rankdata(np.concatenate([reference, live]))
    above = 1 - (ranks[:m] - rankdata(reference)) / n  # of each reference value: live ones above it
    below = (ranks[m:] - rankdata(live)) / m  # of each live value: reference ones below it
    delta, error = 2 * below.mean() - 1, 2 * np.sqrt(below.var() / n + above.var() / m)
    error = max(error, 1 / m, 1 / n)  # where the two do not overlap at all, they show no variance
    z = norm.ppf(1 - 0.025 / comparisons)
    low, high = max(-1.0, delta - z * error), min(1.0, delta + z * error)
    middle = np.median if set(np.unique(reference).tolist()) - {0.0, 1.0} else np.mean
    return Effect(
        float(delta),
        float(low),
        float(high),
        bool(max(low, -high) > negligible),
        float(min(1.0, negligible + (z + norm.ppf(POWER)) * error)),
        float(middle(live)),
        float(middle(reference)),
    )


def effects(
    reference: Floats, live: Floats, reference_scores: Floats, live_scores: Floats
) -> dict[str, Effect]:
    """Compare each feature, (m, features) and (n, features), and the score; {} without any."""
    columns = {name: (reference[:, i], live[:, i]) for i, name in enumerate(FEATURES)}
    columns["score"] = (reference_scores, live_scores)
    logged = {name: (before, now[np.isfinite(now)]) for name, (before, now) in columns.items()}
    return {
        name: effect(before, now, len(columns))
        for name, (before, now) in logged.items()
        if len(now)
    }


def compare_words(training: Sequence[str], live: Sequence[str]) -> tuple[Effect | None, list[Word]]:
    """Return how well words tell live texts from the training's, and the words of the live ones.

    The effect is on the score of a classifier for texts that it did not learn from. Words are
    named where it has moved; None stands for too few texts.
    """
    sides = [np.unique(canonical_texts(sample(texts, TEXTS))) for texts in (training, live)]
    counter = CountVectorizer(binary=True, min_df=OCCURRENCES, max_features=20_000)
    if min(map(len, sides)) < FEW:
        return None, []
    counts = counter.fit_transform(np.concatenate(sides)).astype(np.float64)
    is_live = np.repeat([False, True], [*map(len, sides)])
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=200)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, counts, is_live, cv=folds, method="predict_proba")[:, 1]
    shift = effect(scores[~is_live], scores[is_live], negligible=SIMILAR)
    if not shift.moved:
        return shift, []
    model.fit(counts, is_live)
    names, words = counter.get_feature_names_out(), []
    numbers = [np.asarray(counts[side].sum(axis=0)).ravel() for side in (is_live, ~is_live)]
    sizes = [is_live.sum(), (~is_live).sum()]
    for place in np.argsort(-model.coef_[0])[: 10 * WORDS]:
        pairs = [(int(of[place]), int(size)) for of, size in zip(numbers, sizes, strict=True)]
        now, before = (binomtest(*pair).proportion_ci(0.99, method="wilson") for pair in pairs)
        if now.low > before.high:
            words.append(Word(str(names[place]), *(count / size for count, size in pairs)))
    return shift, words[:WORDS]


def sample(values: Sequence[Any] | npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Return a sample of at most so many values, in their order."""
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if len(array) <= most:
        return array
    chosen = np.random.default_rng(SEED).choice(len(array), most, replace=False, shuffle=False)
    return array[np.sort(chosen)]
