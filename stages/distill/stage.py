"""Labels of the training tweets -> softer targets, where other models doubt a label.

Labels of tweets are noisy, and a network of millions of weights learns the noise too. Two shallow
models of another kind say what they would expect of each tweet, having learnt from the others
alone; the network then learns from labels and expectations together. That is distillation
(Hinton et al. 2015, https://arxiv.org/abs/1503.02531) from models fitted out of fold.
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
from stages.shared import base_model, exact, tokenizer
from stages.shared.batches import Tweets, collate
from stages.shared.outputs import PREPARED, TARGETS
from stages.shared.tweets import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

BATCH = 64
LANDMARKS = 1000  # of the kernel map: enough for some ten thousand tweets


def distill(data: Path, output: Path, p: "Params") -> dict[str, float]:
    """Write the target of each training tweet; return how good the teachers are out of fold.

    Args:
        data: folder with train.parquet.
        output: Parquet file to make, with `id` and `target` from 0 to 1, in the order of the rows.
        p: all params; `compute`, `model` and `distill` are read.

    Raises:
        InputError: there are too few tweets of a class for `distill.folds`.

    """
    exact.use_threads(p.compute)
    tweets = read_tweets(data / "train.parquet")
    truth = tweets["target"].to_numpy(np.float64)
    targets, quality = truth, {}
    if p.distill.weight > 0:
        rarer = int(min(truth.sum(), len(truth) - truth.sum()))
        if rarer < p.distill.folds:
            raise InputError(
                f"distill.folds: {rarer} training tweets of one class are too few for "
                f"{p.distill.folds} folds; set distill.weight: 0.0 to learn from labels alone"
            )
        vectors, texts = embed(tweets, p), tweets["text"].to_numpy()
        expected = np.mean(
            [
                _out_of_fold("meaning", _kernel_model(len(truth)), vectors, truth, p),
                _out_of_fold("wording", _word_model(), texts, truth, p),
            ],
            axis=0,
        )
        quality = {
            "accuracy": float(((expected >= 0.5) == truth).mean()),
            "log_loss": float(log_loss(truth, expected)),
        }
        targets = (1 - p.distill.weight) * truth + p.distill.weight * expected
    with new_file(output) as file:
        pd.DataFrame({"id": tweets["id"], "target": targets}).to_parquet(file, index=False)
    return quality


@torch.no_grad()
def embed(tweets: pd.DataFrame, p: "Params") -> npt.NDArray[np.float32]:
    """Return the base model's mean token vector of each tweet, of length 1: (rows, units)."""
    logging.disable_progress_bar()
    base = base_model.locate(p.model)
    tokens = tokenizer.build(base, p.model.max_length)
    pad_id = dict(tokens.padding or {})["pad_id"]
    tokens.no_padding()
    rows = Tweets(tweets, tokens, "distill")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModel.from_pretrained(
        base,
        dtype=torch.float32,
        local_files_only=True,
        attn_implementation="eager",  # the fused one computes on its own, out of `exact`'s reach
    )
    model = model.eval().to(device)
    vectors = np.zeros((len(rows), model.config.hidden_size), np.float32)
    order = rows.lengths.argsort(kind="stable")
    with Progress(desc="distill: embedding", total=len(rows), unit=" tweets") as progress:
        for start in range(0, len(order), BATCH):
            here = order[start : start + BATCH]
            batch = collate([rows[i] for i in here], pad_id)
            mask = batch["attention_mask"].to(device)
            states = model(batch["input_ids"].to(device), mask).last_hidden_state
            sums = (states * mask.unsqueeze(-1)).sum(1)
            vectors[here] = torch.nn.functional.normalize(sums, dim=1).cpu().numpy()
            progress.update(len(here))
    return vectors


def _out_of_fold(
    name: str,
    model: Pipeline,
    features: npt.NDArray[np.generic],
    truth: npt.NDArray[np.float64],
    p: "Params",
) -> npt.NDArray[np.float64]:
    """Return P(disaster) of each row by a model fitted to the other folds."""
    folds = StratifiedKFold(p.distill.folds, shuffle=True, random_state=p.distill.seed)
    scores = np.zeros(len(truth))
    with Progress(desc=f"distill: {name}", total=p.distill.folds, unit=" folds") as progress:
        for seen, unseen in folds.split(features, truth):
            model.fit(features[seen], truth[seen])
            scores[unseen] = model.predict_proba(features[unseen])[:, 1]
            progress.update()
    return scores


def _kernel_model(rows: int) -> Pipeline:
    """Judge by meaning: a Gaussian kernel on embeddings (Nyström map), logistic regression."""
    landmarks = min(LANDMARKS, rows // 2)
    return make_pipeline(
        Nystroem(gamma=2.0, n_components=landmarks, random_state=0),
        LogisticRegression(C=10.0, max_iter=2000),
    )


def _word_model() -> Pipeline:
    """Judge by wording: TF-IDF of words, word pairs and parts of words, logistic regression."""
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LogisticRegression(C=2.0, max_iter=2000),
    )


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it."""
    quality = distill(PREPARED, TARGETS, p)
    summary = ", ".join(f"{name} {value:.4f}" for name, value in quality.items())
    print(
        f"teachers out of fold: {summary}" if summary else "no teachers: the labels are the targets"
    )
