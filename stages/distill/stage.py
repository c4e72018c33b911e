"""Labels of the training tweets -> soft targets, mixed with the predictions of two teachers.

Labels of tweets are sometimes wrong, and a network memorises wrong labels. Therefore two shallow
models (teachers) predict each tweet after they were fitted to the other folds, and the network
learns the weighted mean of label and prediction: distillation (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from transformers import AutoModel
from transformers.utils import logging

from common.atomic import new_file
from common.errors import InputError
from common.progress import Progress
from stages.distill.groups import answer_groups, make_folds
from stages.shared import arithmetic, base_model
from stages.shared.batches import Tweets
from stages.shared.outputs import GROUPS, PREPARED, TARGETS, read_tweets

if TYPE_CHECKING:
    from stages.params import Params

BATCH = 64  # tweets embedded at once
LANDMARKS = 1000  # of the Nyström map; enough for some ten thousand tweets


def distill(data: Path, targets: Path, groups: Path, p: "Params") -> dict[str, float]:
    """Write soft targets and a teacher's answers to groups; return the teachers' quality.

    The quality is the out-of-fold `accuracy` and `log_loss`; the dictionary is empty if
    `distill.weight` is 0.

    Args:
        data: folder of {train,validation}.parquet.
        targets: file that gets `id` and `target` (0 to 1) of each training tweet, in their order.
        groups: file that gets a teacher's answers to known and unseen groups (see
            stages.distill.groups); without groups it has no rows.
        p: all params; `compute`, `model` and `distill` are read.

    Raises:
        InputError: a class has too few tweets for `distill.folds`.

    """
    arithmetic.use_threads(p.compute)
    train, validation = (
        read_tweets(data / f"{split}.parquet") for split in ("train", "validation")
    )
    truth, weight = train["target"].to_numpy(np.float64), p.distill.weight
    rarer = int(min(truth.sum(), len(truth) - truth.sum()))
    if weight > 0 and rarer < p.distill.folds:
        raise InputError(
            f"distill.folds: {rarer} training tweets of one class are too few for "
            f"{p.distill.folds} folds; set distill.weight: 0.0 to learn from labels alone"
        )
    folds = make_folds(train, p.distill.folds)
    vectors = embed(train, p) if folds or weight > 0 else np.zeros((0, 0), np.float32)
    soft_targets, quality = truth, {}
    if weight > 0:
        by_meaning = _predict_out_of_fold(_kernel_model(len(truth)), vectors, truth, p)
        by_wording = _predict_out_of_fold(_word_model(), train["text"].to_numpy(), truth, p)
        predictions = np.mean([by_meaning, by_wording], axis=0)
        quality = {
            "accuracy": float(((predictions >= 0.5) == truth).mean()),
            "log_loss": float(log_loss(truth, predictions)),
        }
        soft_targets = (1 - weight) * truth + weight * predictions
    answers = pd.DataFrame({"target": [], "probability": [], "judged": []})
    if folds:
        both_vectors = vectors, embed(validation, p)
        answers = answer_groups(train, validation, both_vectors, folds, _kernel_model)
    with new_file(targets) as file:
        train[["id"]].assign(target=soft_targets).to_parquet(file, index=False)
    with new_file(groups) as file:
        answers.to_parquet(file, index=False)
    return quality


@torch.no_grad()
def embed(tweets: pd.DataFrame, p: "Params") -> npt.NDArray[np.float32]:
    """Return the mean of each tweet's token vectors, scaled to length 1: (tweets, units)."""
    logging.disable_progress_bar()
    base = base_model.locate(p.model)
    rows = Tweets(tweets, base_model.tokenizer(base, p.model.max_length), "distill")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # The kernels of fused attention give other bits on other CPUs.
    model = AutoModel.from_pretrained(
        base, dtype=torch.float32, local_files_only=True, attn_implementation="eager"
    )
    model = model.eval().to(device)
    vectors = np.zeros((len(rows), model.config.hidden_size), np.float32)
    order = rows.lengths.argsort(kind="stable")
    with Progress(desc="distill: embedding", total=len(rows), unit=" tweets") as progress:
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            batch = rows.batch(indices)
            mask = batch["attention_mask"].to(device)
            states = model(batch["input_ids"].to(device), mask).last_hidden_state
            sums = (states * mask.unsqueeze(-1)).sum(1)
            vectors[indices] = torch.nn.functional.normalize(sums, dim=1).cpu().numpy()
            progress.update(len(indices))
    return vectors


def _predict_out_of_fold(
    model: Pipeline, features: npt.NDArray[np.generic], truth: npt.NDArray[np.float64], p: "Params"
) -> npt.NDArray[np.float64]:
    """Return P(disaster) of each row by a model fitted to the other folds: (rows,)."""
    splitter = StratifiedKFold(p.distill.folds, shuffle=True, random_state=p.distill.seed)
    scores = np.zeros(len(truth))
    folds = splitter.split(features, truth)
    for fitted, left_out in Progress(folds, "distill: fitting", p.distill.folds, unit=" folds"):
        model.fit(features[fitted], truth[fitted])
        scores[left_out] = model.predict_proba(features[left_out])[:, 1]
    return scores


def _kernel_model(rows: int) -> Pipeline:
    """Return a teacher on vectors: Gaussian kernel (Nyström map) and logistic regression.

    `rows` is the number of tweets that it will be fitted to.
    """
    landmarks = min(LANDMARKS, rows // 2)
    return make_pipeline(
        Nystroem(gamma=2.0, n_components=landmarks, random_state=0),
        LogisticRegression(C=10.0, max_iter=2000),
    )


def _word_model() -> Pipeline:
    """Return a teacher on texts: TF-IDF of words, word pairs and parts, and logistic regression."""
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LogisticRegression(C=2.0, max_iter=2000),
    )


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs; print the teachers' quality."""
    quality = distill(PREPARED, TARGETS, GROUPS, p)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in quality.items())
    print(f"teachers out of fold: {figures or 'none, the labels are the targets'}")
