"""Accuracy on an event that the model has never seen, before and after an adaptation to it.

    python -m tests.bench.events FOLDER [--learn N] [--labels N ...] [--draws N] [--rows N]
    python -m tests.bench.events FOLDER --train [--learn N] [--labels N ...] [--rows N]
    python -m tests.bench.events [--folds N]

FOLDER has a CSV for each event of CrisisLexT6 (https://crisislex.org/data-collections.html). The
model of models/network and models/classifier, or with --learn a model of N tweets of each of the
other events, is adapted to each event by labels drawn at random, as `lock` does it, and judged on
the event's other tweets. A learnt model is calibrated in two ways: on tweets of the events that it
has learnt, and for groups that it has not. What is learnt is kept in --results.

With --train, the model is trained again on the labels too, as by `train.event`. The figures are of
one draw for each number of labels, and `none` and `lock` are judged on the same other tweets.

Without FOLDER, each kind of event that the keywords of the shipped corpus tell is judged once by a
model that learnt from all tweets but those of this kind, and once by cross-validation.

The stages make these models, `compute.exact` being false.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from common.progress import Progress
from locked.manifest import MANIFEST, NETWORK, read_manifest
from stages import params
from stages.evaluate.metrics import Truth, calibration_error
from stages.export.last_layer import last_layer, vector_network
from stages.export.stage import export
from stages.lock.adapt import ADAPTED_THRESHOLD, Activations, Floats, Step, choose, predict
from stages.lock.stage import lock, make_activations
from stages.params import Params
from stages.prepare.source import read_rows
from stages.prepare.splits import SPLITS
from stages.shared.duplicates import find_duplicates
from stages.shared.outputs import CLASSIFIER, GROUPS, PREPARED, TARGETS
from stages.shared.outputs import NETWORK as NETWORK_FOLDER
from stages.train.machine import processor
from stages.train.stage import train
from tests.bench.recipe import FOLD_SEED, answer, learn, varied

NOTHING = np.zeros(0)
KINDS = {  # what its keywords hold
    "fire": "fire|smoke|burn|arson|flame|blaze",
    "storm": "storm|hurricane|tornado|typhoon|cyclone|blizzard|hail|lightning|thunder|twister|wind",
    "water": "flood|tsunami|drown|inundat|deluge|levee|dam$|sinking|sunk",
    "earth": "quake|seismic|slide|sinkhole|avalanche|volcano|lava|lahar",
    "explosion": "bomb|explo|blast|detonat|blew up|blown up",
    "violence": "hostage|hijack|terroris|massacre|murder|shooting|weapon|riot|gunm|war|looting",
    "accident": "crash|collid|derail|wreck|collapse|crush|structural",
    "hunger and disease": "quarantine|outbreak|cholera|epidemic|famine|drought|bioterror",
}


def kinds(tweets: pd.DataFrame) -> pd.Series:
    """Name the kind of event of each tweet, "" where its keyword does not tell."""
    named = pd.Series("", index=tweets.index)
    for kind, pattern in KINDS.items():
        named[(named == "") & tweets["keyword"].str.contains(pattern)] = kind
    return named


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
Line = tuple[str, str, int, Figures]  # event, which model, number of labels
Columns = npt.NDArray[np.float32]  # of `vector_network`
Rows = npt.NDArray[np.int64]


def figures(truth: Truth, scores: Floats, threshold: float) -> Figures:
    """Return the figures of some answers."""
    return [
        float(((scores >= threshold) == truth).mean()),
        float(log_loss(truth, scores)),
        calibration_error(truth, scores),
        float(roc_auc_score(truth, scores)),
    ]


class Model(NamedTuple):
    """Where a model is, and what it has learnt."""

    data: Path  # folder of {train,validation}.parquet
    targets: Path
    groups: Path
    network: Path
    classifier: Path
    trained: Path  # folder for the models that learn labels too


class Judged(NamedTuple):
    """An event as a model that has not learnt it sees it."""

    event: str
    calibrated: str  # for which tweets
    tweets: Activations
    truth: Truth
    threshold: float
    table: pd.DataFrame  # of the same tweets
    model: Model


def judged(event: str, way: str, columns: Columns, own: pd.DataFrame, model: Model) -> Judged:
    """Return an event's tweets as a locked model sees them."""
    manifest = read_manifest(model.classifier / MANIFEST)
    layer = last_layer(onnx.load(model.network / NETWORK))
    tweets = make_activations(columns, layer, manifest.calibration)
    return Judged(event, way, tweets, own["target"].to_numpy(), manifest.threshold, own, model)


def shipped(tweets: pd.DataFrame, event: pd.Series, p: Params, results: Path) -> Iterator[Judged]:
    """Yield each event as the locked model sees it."""
    network = vector_network(NETWORK_FOLDER, p.model.max_length, p.compute)
    for name in event.unique():
        own = tweets[event == name]
        columns = network.uncalibrated(own["text"].tolist())
        work = results / "shipped" / name
        model = Model(PREPARED, TARGETS, GROUPS, NETWORK_FOLDER, CLASSIFIER, work)
        yield judged(name, "shipped", columns, own, model)


def learnt(
    tweets: pd.DataFrame, event: pd.Series, number: int, p: Params, results: Path
) -> Iterator[Judged]:
    """Yield each event as a model sees it that learnt so many tweets of each of the others."""
    is_learnt = tweets.groupby(event).cumcount() < number
    for name in event.unique():
        work, network = results / name, results / name / "network"
        own = tweets[(event == name) & ~is_learnt]
        if not network.exists():
            seen = tweets.assign(group=event)[(event != name) & is_learnt]
            learn(seen, own, p, work)
        pd.read_parquet(work / "groups.parquet").head(0).to_parquet(work / "none.parquet")
        for way, groups in (("known events", "none"), ("unseen events", "groups")):
            files = work / "targets.parquet", work / f"{groups}.parquet"
            model = Model(work, *files, network, work / way, work / "trained")
            lock(network, work, model.groups, None, model.classifier, p)
            yield judged(name, way, np.load(network / "test.npy"), own, model)


def drawn(own: Judged, number: int, seed: int) -> tuple[Rows, Rows]:
    """Return the labelled rows of a draw, and the others."""
    order = np.random.default_rng([seed, number]).permutation(len(own.truth))
    return order[:number], order[number:]


def figures_of(own: Judged, rows: Rows, step: Step = "none", change: Floats = NOTHING) -> Figures:
    """Return the figures on some tweets, after a step of `lock`."""
    at = own.threshold if step == "none" else ADAPTED_THRESHOLD
    return figures(own.truth[rows], predict(step, change, own.tweets.rows(rows)), at)


def adapted(own: Judged, number: int, seed: int) -> Figures:
    """Return the figures on the other tweets of the event, after an adaptation by labels."""
    labelled, others = drawn(own, number, seed)
    truth, weights = own.truth[labelled], np.ones(number)
    choice = choose(own.tweets.rows(labelled), truth, weights, own.threshold)
    return figures_of(own, others, choice.step, choice.change)


def trained(own: Judged, number: int, p: Params) -> Figures:
    """Return the figures on the other tweets, after a training on the labels too."""
    labelled, rows = drawn(own, number, 0)
    others = own.table.iloc[rows]
    work = own.model.trained / str(number)
    model = own.model._replace(network=work / "network", classifier=work / own.calibrated)
    if not model.network.exists():
        work.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation"):
            shutil.copy(model.data / f"{split}.parquet", work)
        others.to_parquet(work / "test.parquet", index=False)
        labels = own.table.iloc[labelled].rename(columns={"target": "label"})
        labels[["text", "label"]].to_csv(work / "labels.csv", index=False)
        folders = work / "model", work / "h", work / "checkpoints"
        train(work, model.targets, *folders, p, work / "labels.csv")
        export(work / "model", work, model.network, p)
    p = p.model_copy(update={"train": p.train.model_copy(update={"event": "labels.csv"})})
    lock(model.network, work, model.groups, work / "labels.csv", model.classifier, p)
    columns = np.load(model.network / "test.npy")
    after = judged(own.event, own.calibrated, columns, others, model)
    return figures_of(after, np.arange(len(others)))


def adaptations(events: Iterable[Judged], numbers: list[int], draws: int) -> Iterator[Line]:
    """Yield a line for each event and number of labels: means of the draws."""
    for own in events:
        yield own.event, own.calibrated, 0, figures_of(own, np.arange(len(own.truth)))
        for number in numbers:
            mean = np.mean([adapted(own, number, seed) for seed in range(draws)], axis=0)
            yield own.event, own.calibrated, number, mean.tolist()


def trainings(events: Iterable[Judged], numbers: list[int], p: Params) -> Iterator[Line]:
    """Yield three lines for each event and number of labels: not adapted, `lock` and training."""
    for own in events:
        for number in numbers:
            way, others = own.calibrated, drawn(own, number, 0)[1]
            yield own.event, f"{way}: none", number, figures_of(own, others)
            yield own.event, f"{way}: lock", number, adapted(own, number, 0)
            yield own.event, f"{way}: train", number, trained(own, number, p)


def print_lines(lines: Iterable[Line]) -> None:
    """Print each line, and the means over events."""
    print(f"{'event':28}{'calibrated for':22}{'labels':>7}{'accuracy':>10}", end="")
    print(f"{'log loss':>10}{'calibration':>13}{'AUC':>7}")

    def print_line(name: str, way: str, number: int, values: Figures) -> None:
        accuracy, loss, gap, auc = values
        print(f"{name:28}{way:22}{number:7}{accuracy:10.3f}", end="")
        print(f"{loss:10.3f}{gap:13.3f}{auc:7.3f}", flush=True)

    means: dict[tuple[str, int], list[Figures]] = {}
    for name, way, number, values in lines:
        means.setdefault((way, number), []).append(values)
        print_line(name, way, number, values)
    for (way, number), of_events in means.items():
        print_line("mean", way, number, np.mean(of_events, axis=0).tolist())


def print_kinds(p: Params, folds: int) -> None:
    """Print each kind's accuracy: of a model that has not learnt it, and of models that have."""
    tweets = pd.concat([pd.read_parquet(PREPARED / f"{split}.parquet") for split in SPLITS])
    tweets = tweets.sort_values("text").reset_index(drop=True)
    truth, kind = tweets["target"].to_numpy(), kinds(tweets)
    names = [name for name in kind.unique() if name]
    held_out = [np.flatnonzero(kind == name) for name in names]
    split = StratifiedKFold(folds, shuffle=True, random_state=FOLD_SEED).split(tweets, truth)
    accuracies, is_right = [], np.zeros(len(tweets), dtype=bool)
    for rows in Progress(held_out, desc="unknown", unit=" models"):
        with tempfile.TemporaryDirectory() as folder:
            calls = answer(tweets, rows.tolist(), "recipe", p, Path(folder) / "work")[1]
        accuracies.append((calls == truth[rows]).mean())
    for _, rows in Progress(split, desc="known", total=folds, unit=" models"):
        with tempfile.TemporaryDirectory() as folder:
            calls = answer(tweets, rows.tolist(), "recipe", p, Path(folder) / "work")[1]
        is_right[rows] = calls == truth[rows]
    print(f"{'event':20}{'tweets':>7}{'unknown':>9}{'known':>9}")
    for name, rows, accuracy in zip(names, held_out, accuracies, strict=True):
        print(f"{name:20}{len(rows):7}{accuracy:9.3f}{is_right[rows].mean():9.3f}")


def main() -> None:
    """Print one of the two tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("events", nargs="?", type=Path, metavar="FOLDER")
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--learn", type=int, help="tweets of each other event; none: shipped")
    arguments.add_argument("--train", action="store_true", help="compare with train.event")
    arguments.add_argument("--results", type=Path, default=Path("models/events"))
    arguments.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 200])
    arguments.add_argument("--draws", type=int, default=30, help="of each number of labels")
    arguments.add_argument("--rows", type=int, default=1000, help="of each of its events")
    chosen = arguments.parse_args()
    p = varied(params.load(), "recipe", params.load().train.seed, 1)
    print(f"on {processor()}")
    if not chosen.events:
        return print_kinds(p, chosen.folds)
    tweets, event = crisislex(chosen.events, chosen.rows + (chosen.learn or 0))
    events = shipped(tweets, event, p, chosen.results)
    if chosen.learn:
        events = learnt(tweets, event, chosen.learn, p, chosen.results)
    if chosen.train:
        return print_lines(trainings(events, chosen.labels, p))
    return print_lines(adaptations(events, chosen.labels, chosen.draws))


if __name__ == "__main__":
    main()
