"""Accuracy on events that a model has not learnt, and what tweets of these events bring.

    python -m tests.bench.events FOLDER [--learn N] [--labels N ...] [--seeds N ...]

FOLDER has a CSV for each event of CrisisLexT6 (https://crisislex.org/data-collections.html). The
shipped model, or with --learn a model of N tweets of each of the other events, is judged on each
event: as it is, and after a training on its labels too (`train.event`). Labels are drawn at random;
the model with them and the one without are judged on the same other tweets. With --learn, a model
without these labels is calibrated in two ways: on tweets of the events that it has learnt, and for
events that it has not. Differences are to the latter, and their standard error is over seeds.

Models are kept in --results, and used again: name a new folder if params, FOLDER, --learn or --rows
change.

The stages make these models, `compute.exact` being false. With --jobs 2 two events are measured
at a time, each with half of `compute.threads`: on two cores that is faster.
"""

import argparse
import multiprocessing
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from common.errors import run
from locked.classifier import Classifier
from stages import params
from stages.distill.stage import distill
from stages.evaluate.metrics import calibration_error
from stages.export.stage import export
from stages.params import Params
from stages.prepare.duplicates import find_duplicates
from stages.prepare.source import read_rows
from stages.prepare.splits import SPLITS
from stages.shared.outputs import CLASSIFIER, PREPARED
from stages.train.machine import processor
from stages.train.stage import train
from tests.bench.recipe import FOLD_SEED, VALIDATION, varied


def crisislex(folder: Path, rows: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return as many tweets of each event, none much like another, and their events."""
    named = {"source": str(folder), "text": "tweet", "label": "label", "id": "tweet id"}
    values = {"disaster": ["on-topic"], "not_disaster": ["off-topic"], "group": "file"}
    p = params.load().prepare.model_copy(update=named | values)
    source = read_rows(p).table
    tweets = source.drop_columns(["split_by", "train_only"]).to_pandas()
    tweets["event"] = [Path(name).stem for name in source["split_by"].to_pylist()]
    near = find_duplicates(source["text"], p.seed).near
    alone = tweets[~pd.Series(near).duplicated(keep="first")]
    tweets = alone.groupby("event").sample(rows, random_state=FOLD_SEED).reset_index(drop=True)
    return tweets.drop(columns="event"), tweets["event"]


Figures = list[float]  # accuracy, log loss, calibration error, AUC
Line = tuple[str, int, str, Figures]  # event, seed, model


@dataclass(frozen=True)
class Event:
    """An event, and what the model that is judged on it has learnt."""

    name: str
    tweets: pd.DataFrame  # that judge
    data: Path  # folder of the splits that the model learns
    work: Path
    classifier: Path | None = None  # a locked model that exists already


def shipped(tweets: pd.DataFrame, event: pd.Series, results: Path) -> Iterator[Event]:
    """Yield each event for the shipped model."""
    for name in event.unique():
        work = results / "shipped" / name
        yield Event(name, tweets[event == name], PREPARED, work, CLASSIFIER)


def learnt(tweets: pd.DataFrame, event: pd.Series, number: int, results: Path) -> Iterator[Event]:
    """Yield each event for a model that learns so many tweets of each of the others."""
    is_learnt = tweets.groupby(event).cumcount() < number
    for name in event.unique():
        (data := results / name / "data").mkdir(parents=True, exist_ok=True)
        seen = tweets.assign(group=event)[(event != name) & is_learnt]
        training, validation = train_test_split(
            seen, test_size=VALIDATION, stratify=seen["target"], random_state=FOLD_SEED
        )
        for split, rows in zip(SPLITS, (training, validation, validation), strict=True):
            rows.to_parquet(data / f"{split}.parquet", index=False)
        yield Event(name, tweets[(event == name) & ~is_learnt], data, results / name)


def fit(event: Event, name: str, p: Params, labels: Path | None = None) -> Path:
    """Distill, train and export a model, unless that is done; return its folder."""
    work = event.work / f"{name}, seed {p.train.seed}"
    distilled = event.work / "distilled"  # the same for all seeds and labels
    targets, groups, checkpoint = distilled / "targets", distilled / "groups", work / "checkpoint"
    if not checkpoint.exists():
        work.mkdir(parents=True, exist_ok=True)
        if not groups.exists():
            distilled.mkdir(exist_ok=True)
            distill(event.data, targets, groups, p)
        train(event.data, targets, checkpoint, work / "history", work / "checkpoints", p, labels)
    if not (work / "classifier").exists():
        export(checkpoint, event.data, groups, work / "classifier", p, labels)
    return work / "classifier"


def judge(classifier: Path, tweets: pd.DataFrame, threads: int) -> Figures:
    """Return the figures of a locked model on some tweets."""
    model, truth = Classifier(classifier, threads), tweets["target"].to_numpy()
    scores: npt.NDArray[np.float64] = model.probabilities(tweets["text"].tolist()).astype(float)
    return [
        float(((scores >= model.manifest.threshold) == truth).mean()),
        float(log_loss(truth, scores)),
        calibration_error(truth, scores),
        float(roc_auc_score(truth, scores)),
    ]


def measure(event: Event, seeds: list[int], numbers: list[int], p: Params) -> list[Line]:
    """Return a line for each seed, model of an event, and set of tweets that judges it."""
    lines = []

    def add(model: str, classifier: Path, tweets: pd.DataFrame) -> None:
        figures = judge(classifier, tweets, p.compute.threads)
        lines.append((event.name, seed, model, figures))

    for seed in seeds:
        q = p.model_copy(update={"train": p.train.model_copy(update={"seed": seed})})
        before = event.classifier or fit(event, "before", q)
        add("before", before, event.tweets)
        if not event.classifier:
            work, for_known = before.parent, before.with_name("for known events")
            if not for_known.exists():
                groups = pd.read_parquet(event.work / "distilled/groups")
                groups.head(0).to_parquet(work / "no-groups")
                export(work / "checkpoint", event.data, work / "no-groups", for_known, q)
            add("before, for known events", for_known, event.tweets)
        event.work.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            labelled = event.tweets.sample(number, random_state=seed)
            others = event.tweets.drop(labelled.index)
            labels = event.work / f"{number}-{seed}.csv"
            labelled = labelled.rename(columns={"target": "label"})
            labelled[["text", "label"]].to_csv(labels, index=False)
            add(f"before, without these {number}", before, others)
            add(f"with {number} labels", fit(event, f"{number} labels", q, labels), others)
    return lines


def print_lines(lines: Iterable[Line]) -> None:
    """Print each line, and the means over events and seeds."""
    print(f"{'event':28}{'seed':>5}  {'model':27}{'accuracy':>9}", end="")
    print(f"{'log loss':>10}{'calibration':>13}{'AUC':>7}")
    by_model: dict[str, dict[int, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for name, seed, model, (accuracy, loss, gap, auc) in lines:
        by_model[model][seed].append([accuracy, loss, gap, auc])
        print(
            f"{name:28}{seed:5}  {model:27}{accuracy:9.3f}{loss:10.3f}{gap:13.3f}{auc:7.3f}",
            flush=True,
        )
    base = np.zeros(0)  # the last model "before": (seeds, figures)
    for model, of_seeds in by_model.items():
        means = np.array([np.mean(of_events, axis=0) for of_events in of_seeds.values()])
        accuracy, loss, gap, auc = means.mean(axis=0)
        print(f"{'mean':33}  {model:27}{accuracy:9.3f}{loss:10.3f}{gap:13.3f}{auc:7.3f}", end="")
        if model.startswith("with"):
            gains = means - base
            for of_figure in gains.T[:3]:
                print(f"  {of_figure.mean():+.3f}", end="")
                if len(of_figure) > 1:
                    print(f" ± {of_figure.std(ddof=1) / np.sqrt(len(of_figure)):.3f}", end="")
        elif model != "before, for known events":
            base = means
        print(flush=True)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("events", type=Path, metavar="FOLDER")
    arguments.add_argument("--learn", type=int, help="tweets of each other event; none: shipped")
    arguments.add_argument("--labels", type=int, nargs="*", default=[50])
    arguments.add_argument("--rows", type=int, default=1000, help="of each event, to judge")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--jobs", type=int, default=1, help="events at a time")
    arguments.add_argument("--results", type=Path, default=Path("models/events"))
    chosen = arguments.parse_args()
    p = varied(params.load(), "recipe", params.load().train.seed, chosen.jobs)
    print(f"on {processor()}")
    tweets, event = crisislex(chosen.events, chosen.rows + (chosen.learn or 0))
    if chosen.learn:
        events = [*learnt(tweets, event, chosen.learn, chosen.results)]
    else:
        events = [*shipped(tweets, event, chosen.results)]
    same = repeat(chosen.seeds), repeat(chosen.labels), repeat(p)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.jobs, spawn, max_tasks_per_child=1) as pool:
        print_lines(chain.from_iterable(pool.map(measure, events, *same)))


if __name__ == "__main__":
    run(main)
