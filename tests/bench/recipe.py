"""Accuracy of the training recipe beside others, by cross-validation of the served classifier.

    python -m tests.bench.recipe SOURCE [--variants NAME ...] [--seeds N] [--folds N] [--jobs N]

No near-duplicates straddle two folds. The stages themselves distill, train and export each
fold's model, which is judged on the fold that it has not seen. A variant is a name in VARIANTS, or
the path of a params file, for example with another base model; its sections model, distill, train
and export are used.

A finished fold is kept in --results, so that a stopped run continues; it is found again only with
the same data, params and code. With --jobs 2 two folds are trained at a time, each with half of
`compute.threads`: on two cores that is faster than one after the other with both. `compute.exact`
is false in all. Differences are to the first variant but tf-idf, paired by tweet; their error is
over tweets, for the seeds that were run.
"""

import argparse
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from common.errors import InputError, run
from common.progress import Progress
from locked.classifier import Classifier
from stages import params
from stages.distill.stage import distill
from stages.evaluate.metrics import calibration_error
from stages.evaluate.stage import baseline_scores
from stages.export.stage import export
from stages.params import Params
from stages.prepare.duplicates import find_duplicates
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from stages.shared.outputs import write_json
from stages.train.checkpoints import Checkpoints
from stages.train.stage import train

FOLD_SEED = 0
VALIDATION = 0.12  # of the rows outside a fold
USUAL = {"lr": 5e-5, "epochs": 3, "patience": 3, "layer_decay": 1.0, "dropout": 0.1}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "tf-idf": {},
    "plain": {"distill": {"weight": 0.0}, "train": {**USUAL, "freeze_embeddings": False}},
    "recipe": {},
    "without-teachers": {"distill": {"weight": 0.0}},
    "without-layer-decay": {"train": {"layer_decay": 1.0, "lr": 5e-5}},
    "without-freezing": {"train": {"freeze_embeddings": False}},
    "with-dropout": {"train": {"dropout": 0.1}},
}

Scores = npt.NDArray[np.floating]
Calls = npt.NDArray[np.bool_]  # the tweets that a model calls disasters
Answers = tuple[Scores, Calls]


def varied(p: Params, variant: str, seed: int, jobs: int) -> Params:
    """Return params with a variant's changes, a seed and a job's share of the threads.

    A variant that is not in VARIANTS is the path of a params file.
    """
    if variant not in VARIANTS and not Path(variant).exists():
        raise InputError(
            f"--variants: {variant} is neither a file nor one of {', '.join(VARIANTS)}"
        )
    values = (p if variant in VARIANTS else params.load(Path(variant))).model_dump()
    for section, changes in VARIANTS.get(variant, {}).items():
        values[section] |= changes
    values["compute"] = {"exact": False, "threads": max(1, p.compute.threads // jobs)}
    values["train"]["seed"] = seed
    return Params.model_validate(values)


def answer(tweets: pd.DataFrame, unseen: list[int], variant: str, p: Params, work: Path) -> Answers:
    """Train on all tweets but the unseen ones, and return the model's answers to those."""
    seen, texts = tweets.drop(index=unseen), tweets.loc[unseen, "text"]
    if variant == "tf-idf":
        scores = baseline_scores(seen, texts)
        return scores, scores >= 0.5
    work.mkdir(parents=True, exist_ok=True)
    training, validation = train_test_split(
        seen, test_size=VALIDATION, stratify=seen["target"], random_state=FOLD_SEED
    )
    for split, rows in zip(SPLITS, (training, validation, tweets.loc[unseen]), strict=True):
        rows.to_parquet(work / f"{split}.parquet", index=False)
    targets, groups = work / "targets.parquet", work / "groups.parquet"
    distill(work, targets, groups, p)
    train(work, targets, work / "model", work / "history", work / "checkpoints", p)
    export(work / "model", work, groups, work / "classifier", p)
    classifier = Classifier(work / "classifier", p.compute.threads)
    scores = classifier.probabilities(texts.tolist()).astype(np.float64)
    shutil.rmtree(work)
    return scores, scores >= classifier.manifest.threshold


def fit(
    tweets: pd.DataFrame, unseen: list[int], variant: str, p: Params, file: Path, name: str
) -> None:
    """Write the answers of a fold's model to the fold."""
    Progress.write(name)
    for leftover in file.parent.glob(f"{file.stem}-*"):  # of a killed run
        shutil.rmtree(leftover, ignore_errors=True)
    work = file.with_name(f"{file.stem}-{os.getpid()}")
    scores, calls = answer(tweets, unseen, variant, p, work)
    write_json(file, {"scores": scores.tolist(), "calls": calls.tolist()})


def main() -> None:
    """Cross-validate, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source")
    arguments.add_argument("--variants", nargs="+", default=["tf-idf", "plain", "recipe"])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--jobs", type=int, default=1, help="folds trained at a time")
    arguments.add_argument("--results", type=Path, default=Path("models/recipe"))
    options = arguments.parse_args()
    p = params.load()
    recipes = {
        (variant, seed): varied(p, variant, seed, options.jobs)
        for variant in options.variants
        for seed in range(options.seeds)
    }
    data = options.results / "data"
    prepare(p.prepare.model_copy(update={"source": options.source}), data)
    tweets = pd.concat([pd.read_parquet(data / f"{split}.parquet") for split in SPLITS])
    tweets = tweets.sort_values("text").reset_index(drop=True)
    tweets.to_parquet(data / "all.parquet")
    truth = tweets["target"].to_numpy()
    texts = pyarrow.chunked_array([pyarrow.array(tweets["text"])])
    near = find_duplicates(texts, p.prepare.seed).near
    folds = StratifiedGroupKFold(options.folds, shuffle=True, random_state=FOLD_SEED)
    unseen = [rows for _, rows in folds.split(tweets, truth, near)]
    runs: dict[str, list[list[Path]]] = {variant: [] for variant in options.variants}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawn, max_tasks_per_child=1) as pool:
        pending = []
        for seed in range(options.seeds):  # so that a stopped run has some of every variant
            for variant in options.variants:
                if variant == "tf-idf" and seed:  # chance plays no part in it
                    continue
                q = recipes[variant, seed]
                files = []
                for fold in range(options.folds):
                    inputs = {"variant": variant, "params": q.model_dump(), "fold": fold}
                    store = Checkpoints(options.results, inputs, [data / "all.parquet"])
                    files.append(store.folder.with_suffix(".json"))
                    if not files[-1].exists():
                        name = f"{variant}, seed {seed}, fold {fold}"
                        work = tweets, unseen[fold].tolist(), variant, q, files[-1], name
                        pending.append(pool.submit(fit, *work))
                runs[variant].append(files)
        try:
            for future in as_completed(pending):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    order = np.argsort(np.concatenate(unseen))
    answers: dict[str, dict[str, list[Scores]]] = {"scores": {}, "calls": {}}
    for variant, seeds in runs.items():
        folds_of_seeds = [[json.loads(file.read_text()) for file in files] for files in seeds]
        for key, of_variants in answers.items():
            of_variants[variant] = [
                np.concatenate([fold[key] for fold in run])[order] for run in folds_of_seeds
            ]
    print_table(truth, answers["scores"], answers["calls"])


def print_table(
    truth: npt.NDArray[np.int8], scores: dict[str, list[Scores]], calls: dict[str, list[Scores]]
) -> None:
    """Print the figures, means over seeds, and the difference to the first network."""
    first = next((name for name in calls if name != "tf-idf"), "")
    columns = ("seeds", "accuracy", "log loss", "calibration", f"to {first}", "± error")
    print(f"{'':22}" + "".join(f"{column:>13}" for column in columns))
    right = {name: np.mean([a == truth for a in runs], axis=0) for name, runs in calls.items()}
    for name, runs in scores.items():
        loss = np.mean([log_loss(truth, run) for run in runs])
        gap = np.mean([calibration_error(truth, run) for run in runs])
        line = f"{name:22}{len(runs):13}{right[name].mean():13.4f}{loss:13.4f}{gap:13.4f}"
        if first and name != first:
            difference = right[name] - right[first]
            error = difference.std() / np.sqrt(len(truth))
            line += f"{difference.mean():+13.4f}{error:13.4f}"
        print(line, flush=True)


if __name__ == "__main__":
    run(main)
