"""Accuracy of the training recipe beside others, by cross-validation of the served classifier.

    python -m tests.bench.recipe SOURCE [--variants NAME ...] [--seeds N] [--folds N] [--jobs N]

Near-duplicates are merged first, as the prepare stage does it, so none straddles two folds. Each
fold's model is taught, trained, quantised and locked by the stages themselves, and judged on the
fold it has not seen. A finished fold is kept in --results, so that a stopped run goes on; it is
found again only with the same data, params, code and libraries. With --jobs 2 two folds are
learnt at a time, each with half of `compute.threads`: on two cores that is faster than one after
the other with both. `compute.exact` is false in all. Differences are to the first variant named
but tf-idf, paired by tweet; their error is over tweets, for the seeds that were run.
"""

import argparse
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split

from common.progress import Progress
from locked.classifier import Classifier
from stages import params
from stages.distill.stage import distill
from stages.evaluate.metrics import calibration_error
from stages.evaluate.stage import baseline_scores
from stages.export.stage import export
from stages.lock.stage import lock
from stages.params import Params
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from stages.shared.outputs import write_json
from stages.train.checkpoints import Checkpoints
from stages.train.stage import train

FOLD_SEED = 0
LIBRARIES = {  # beside those of the training
    name: version(name) for name in ("scikit-learn", "scipy", "onnxscript", "onnxruntime")
}
VALIDATION = 0.12  # of the rows outside a fold
PLAIN = {
    "distill": {"weight": 0.0},
    "train": {
        "lr": 5e-5,
        "epochs": 3,
        "patience": 3,
        "layer_decay": 1.0,
        "freeze_embeddings": False,
        "dropout": 0.1,
    },
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "tf-idf": {},
    "plain": PLAIN,
    "recipe": {},
    "without-teachers": {"distill": {"weight": 0.0}},
    "without-layer-decay": {"train": {"layer_decay": 1.0, "lr": 5e-5}},
    "without-freezing": {"train": {"freeze_embeddings": False}},
    "with-dropout": {"train": {"dropout": 0.1}},
    "4-layers": {"train": {"layers": 4}},
    "3-layers": {"train": {"layers": 3}},
}

Answers = tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]  # P(disaster), said disaster


def varied(p: Params, variant: str, seed: int, jobs: int) -> Params:
    """Return params with a variant's changes, a seed and a job's share of the threads."""
    values = p.model_dump()
    for section, changes in VARIANTS[variant].items():
        values[section] |= changes
    values["compute"] = {"exact": False, "threads": max(1, p.compute.threads // jobs)}
    values["train"]["seed"] = seed
    return Params.model_validate(values)


def answer(tweets: pd.DataFrame, unseen: list[int], variant: str, p: Params, work: Path) -> Answers:
    """Learn from all tweets but the unseen ones and return what is said of those."""
    seen = tweets.drop(index=unseen)
    if variant == "tf-idf":
        scores = baseline_scores(seen, tweets.loc[unseen, "text"])
        return scores, scores >= 0.5
    work.mkdir(parents=True)
    kept, held_out = train_test_split(
        seen, test_size=VALIDATION, stratify=seen["target"], random_state=FOLD_SEED
    )
    kept.to_parquet(work / "train.parquet", index=False)
    held_out.to_parquet(work / "validation.parquet", index=False)
    tweets.loc[unseen].to_parquet(work / "test.parquet", index=False)
    targets = taught(work, p)
    train(work, targets, work / "model", work / "history", work / "checkpoints", p)
    export(work / "model", work, work / "network", p)
    lock(work / "network", work, None, work / "classifier", p)
    classifier = Classifier(work / "classifier", p.compute.threads)
    scores = classifier.probabilities(tweets.loc[unseen, "text"].tolist()).astype(np.float64)
    shutil.rmtree(work)
    return scores, scores >= classifier.manifest.threshold


def taught(work: Path, p: Params) -> Path:
    """Return the targets of a fold, which runs that differ in their training alone share."""
    known = {
        "distill": p.distill.model_dump(),
        "model": p.model.model_dump(),
        "threads": p.compute.threads,
        "libraries": LIBRARIES,
    }
    store = Checkpoints(work.parent / "targets", known, [work / "train.parquet"])
    file = store.folder.with_suffix(".parquet")
    if not file.exists():
        distill(work, work / file.name, p)
        file.parent.mkdir(exist_ok=True)
        (work / file.name).replace(file)  # whole, though another process may make the same
    return file


def fit(
    tweets: pd.DataFrame, unseen: list[int], variant: str, p: Params, file: Path, name: str
) -> None:
    """Write what a fold's model says of the fold."""
    Progress.write(name)
    for left in file.parent.glob(f"{file.stem}-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    work = file.with_name(f"{file.stem}-{os.getpid()}")
    scores, said = answer(tweets, unseen, variant, p, work)
    write_json(file, {"scores": scores.tolist(), "said": said.tolist()})


def main() -> None:
    """Cross-validate, and print a table of what is finished."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source")
    arguments.add_argument("--variants", nargs="+", default=["tf-idf", "plain", "recipe"])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--jobs", type=int, default=1, help="folds learnt at a time")
    arguments.add_argument("--results", type=Path, default=Path("models/recipe"))
    chosen = arguments.parse_args()
    p = params.load()
    data = chosen.results / "data"
    prepare(p.prepare.model_copy(update={"source": chosen.source}), data)
    tweets = pd.concat([pd.read_parquet(data / f"{split}.parquet") for split in SPLITS])
    tweets = tweets.sort_values("text").reset_index(drop=True)
    tweets.to_parquet(data / "all.parquet")
    truth = tweets["target"].to_numpy()
    folds = StratifiedKFold(chosen.folds, shuffle=True, random_state=FOLD_SEED)
    unseen = [rows for _, rows in folds.split(tweets, truth)]
    runs = [  # seed by seed, so that a stopped run has some of every variant
        (variant, seed)
        for seed in range(chosen.seeds)
        for variant in chosen.variants
        if variant != "tf-idf" or seed == 0  # which takes nothing from chance
    ]
    finished: dict[str, list[list[Path]]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.jobs, spawn, max_tasks_per_child=1) as pool:
        pending = []
        for variant, seed in runs:
            q = varied(p, variant, seed, chosen.jobs)
            files = []
            for fold in range(chosen.folds):
                known = {
                    "variant": variant,
                    "params": q.model_dump(),
                    "fold": fold,
                    "libraries": LIBRARIES,
                }
                file = Checkpoints(chosen.results, known, [data / "all.parquet"]).folder
                files.append(file.with_suffix(".json"))
                if not files[-1].exists():
                    name = f"{variant}, seed {seed}, fold {fold}"
                    work = tweets, unseen[fold].tolist(), variant, q, files[-1], name
                    pending.append(pool.submit(fit, *work))
            finished.setdefault(variant, []).append(files)
        try:
            for done in as_completed(pending):
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    scores: dict[str, list[npt.NDArray[np.float64]]] = {}
    said: dict[str, list[npt.NDArray[np.bool_]]] = {}
    for variant, seeds in finished.items():
        scores[variant], said[variant] = [], []
        for files in seeds:
            all_scores, all_said = np.zeros(len(truth)), np.zeros(len(truth), dtype=bool)
            for rows, file in zip(unseen, files, strict=True):
                found = json.loads(file.read_text())
                all_scores[rows], all_said[rows] = found["scores"], found["said"]
            scores[variant].append(all_scores)
            said[variant].append(all_said)
    print_table(truth, scores, said)


def print_table(
    truth: npt.NDArray[np.int8],
    scores: dict[str, list[npt.NDArray[np.float64]]],
    said: dict[str, list[npt.NDArray[np.bool_]]],
) -> None:
    """Print the figures, means over seeds, and the difference to the first network."""
    first = next((name for name in said if name != "tf-idf"), None)
    print(
        f"{'':22}{'seeds':>6}{'accuracy':>10}{'log loss':>10}{'calibration':>13}"
        f"{f'to {first}':>12}{'± error':>9}"
    )
    right = {name: np.mean([a == truth for a in runs], axis=0) for name, runs in said.items()}
    for name, runs in scores.items():
        loss = np.mean([log_loss(truth, of_seed) for of_seed in runs])
        gap = np.mean([calibration_error(truth, of_seed) for of_seed in runs])
        line = f"{name:22}{len(runs):6}{right[name].mean():10.4f}{loss:10.4f}{gap:13.4f}"
        if first is not None and name != first:
            difference = right[name] - right[first]
            error = difference.std() / np.sqrt(len(truth))
            line += f"{difference.mean():+12.4f}{error:9.4f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
