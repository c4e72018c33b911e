"""Measures how far live tweets have drifted from held-out ones: effect sizes, no p-values.

There are two measures: the shift of each feature, which needs no texts, and how well a classifier
tells live from training tweets by their words. On CrisisLexT6, with each of six events held out,
words detected 70 of the 72 windows that were half or wholly of the unseen event, and features 25;
neither gave an alarm in the 36 windows of known events. A classifier of all features, which
detected 35, is not worth its code.
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

NEGLIGIBLE = 0.147  # Cliff's delta of the largest negligible effect (Romano et al. 2006)
SIMILAR = 0.2  # the same for a classifier's scores: an AUC of 0.6
MAX_LIVE = 200_000  # tweets: with some hundred held-out ones, more would add nothing
MAX_TEXTS = 4000  # of each side, from which the classifier learns
FOLDS = 5
MIN_TEXTS = 50  # of each side, for the classifier
SEED = 0
MAX_WORDS = 12  # in the report
MIN_TWEETS = 5  # that contain a word

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Effect:
    """Cliff's delta of live values to reference values, in -1..1; above 0, live values are larger.

    It is 2 AUC - 1; the AUC is the probability that a live value exceeds a reference value.
    """

    delta: float
    low: float
    high: float
    has_moved: bool  # the whole interval is beyond the negligible effects
    live: float  # median, or mean if all values are 0 or 1
    reference: float


@dataclass(frozen=True)
class Word:
    """A word, and the share of live and training tweets that contain it."""

    word: str
    live: float
    training: float


def compute_effect(
    reference: Floats, live: Floats, comparisons: int = 1, negligible: float = NEGLIGIBLE
) -> Effect:
    """Compare two samples, (m,) and (n,); the 95 % interval holds for all comparisons at once.

    The variance is DeLong's (DeLong et al. 1988), the correction for comparisons Bonferroni's.
    """
    m, n = len(reference), len(live)
    ranks = rankdata(np.concatenate([reference, live]))
    above = 1 - (ranks[:m] - rankdata(reference)) / n  # of each reference value: share of live ones
    below = (ranks[m:] - rankdata(live)) / m  # of each live value: share of reference ones
    delta, error = 2 * below.mean() - 1, 2 * np.sqrt(below.var() / n + above.var() / m)
    error = max(error, 1 / m, 1 / n)  # samples without any overlap have no variance
    z = norm.ppf(1 - 0.025 / comparisons)
    low, high = max(-1.0, delta - z * error), min(1.0, delta + z * error)
    middle = np.median if set(np.unique(reference).tolist()) - {0.0, 1.0} else np.mean
    return Effect(
        float(delta),
        float(low),
        float(high),
        bool(max(low, -high) > negligible),
        float(middle(live)),
        float(middle(reference)),
    )


def compute_effects(
    reference: Floats, live: Floats, reference_scores: Floats, live_scores: Floats
) -> dict[str, Effect]:
    """Return the effect on each feature, (m, features) and (n, features), and on the score."""
    columns = {name: (reference[:, i], live[:, i]) for i, name in enumerate(FEATURES)}
    columns["score"] = (reference_scores, live_scores)
    logged = {name: (before, now[np.isfinite(now)]) for name, (before, now) in columns.items()}
    return {
        name: compute_effect(before, now, len(columns))
        for name, (before, now) in logged.items()
        if len(now)
    }


def compare_words(training: Sequence[str], live: Sequence[str]) -> tuple[Effect | None, list[Word]]:
    """Return how well words tell live from training texts, and the typical words of live texts.

    The effect is that on a classifier's score for texts that it did not learn from, None if there
    are too few texts. There are words only if it has moved.
    """
    sides = [np.unique(canonical_texts(sample(texts, MAX_TEXTS))) for texts in (training, live)]
    counter = CountVectorizer(binary=True, min_df=MIN_TWEETS, max_features=20_000)
    if min(map(len, sides)) < MIN_TEXTS:
        return None, []
    counts = counter.fit_transform(np.concatenate(sides)).astype(np.float64)
    is_live = np.repeat([False, True], [*map(len, sides)])
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=200)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, counts, is_live, cv=folds, method="predict_proba")[:, 1]
    shift = compute_effect(scores[~is_live], scores[is_live], negligible=SIMILAR)
    if not shift.has_moved:
        return shift, []
    model.fit(counts, is_live)
    names, words = counter.get_feature_names_out(), []
    frequencies = [np.asarray(counts[side].sum(axis=0)).ravel() for side in (is_live, ~is_live)]
    sizes = [is_live.sum(), (~is_live).sum()]
    for place in np.argsort(-model.coef_[0])[: 10 * MAX_WORDS]:
        pairs = [(int(f[place]), int(n)) for f, n in zip(frequencies, sizes, strict=True)]
        live_share, training_share = (
            binomtest(*pair).proportion_ci(0.99, method="wilson") for pair in pairs
        )
        if live_share.low > training_share.high:
            words.append(Word(str(names[place]), *(count / size for count, size in pairs)))
    return shift, words[:MAX_WORDS]


def sample(values: Sequence[Any] | npt.NDArray[Any], maximum: int) -> npt.NDArray[Any]:
    """Return a random sample of at most `maximum` values, in their order."""
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if len(array) <= maximum:
        return array
    rows = np.random.default_rng(SEED).choice(len(array), maximum, replace=False, shuffle=False)
    return array[np.sort(rows)]
