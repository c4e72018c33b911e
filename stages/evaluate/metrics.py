"""Metrics of a binary classifier, with bootstrap intervals."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn import metrics as sk

from common.progress import Progress

CALIBRATION_BINS = 10

Truth = npt.NDArray[np.int8]  # (rows,), 1 is a disaster
Scores = npt.NDArray[np.floating]  # (rows,), P(disaster)


def compute(truth: Truth, scores: Scores, threshold: float) -> dict[str, float]:
    """Return all figures by name; both classes must occur in `truth`."""
    predicted = scores >= threshold
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=0
    )
    return {
        "accuracy": float((predicted == truth).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(sk.roc_auc_score(truth, scores)),
        "pr_auc": float(sk.average_precision_score(truth, scores)),
        "log_loss": float(sk.log_loss(truth, scores.astype(np.float64))),
        "calibration_error": calibration_error(truth, scores),
    }


def calibration_error(truth: Truth, scores: Scores, weights: Scores | None = None) -> float:
    """Return the expected calibration error over ten bins of equal width (Guo et al. 2017)."""
    weights = np.ones(len(truth)) if weights is None else weights
    gaps = np.bincount(calibration_bins(scores), weights * (truth - scores), CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def calibration_bins(scores: Scores) -> npt.NDArray[np.intp]:
    """Return the bin of each probability: (rows,), from 0 to CALIBRATION_BINS - 1."""
    return np.minimum((scores * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def reliability(truth: Truth, scores: Scores) -> pd.DataFrame:
    """Return a row for each bin with tweets: bin, mean predicted P, observed share, tweets."""
    table = pd.DataFrame({"bin": calibration_bins(scores), "predicted": scores, "observed": truth})
    bins = table.groupby("bin")
    return bins.mean().assign(tweets=bins.size()).reset_index()


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of the share `count` / `total` (Wilson 1927)."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def intervals(
    truth: Truth, scores: Scores, threshold: float, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile-bootstrap interval of each figure (Efron & Tibshirani 1993).

    Resamples with one class only are left out.
    """
    chance = np.random.default_rng(seed)
    samples = []
    for _ in Progress(range(resamples), desc="evaluate: bootstrap", unit=" resamples"):
        rows = chance.integers(0, len(truth), len(truth))
        if 0 < truth[rows].sum() < len(rows):
            samples.append(compute(truth[rows], scores[rows], threshold))
    bounds = {name: np.percentile([s[name] for s in samples], [2.5, 97.5]) for name in samples[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
