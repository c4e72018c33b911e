"""Accuracy on an event that the model has never seen, before and after an adaptation to it.

    python -m tests.bench.events FOLDER [--learn N] [--labels N ...] [--draws N] [--rows N]
    python -m tests.bench.events [--jobs N] [--folds N]

FOLDER has a CSV for each event of CrisisLexT6 (https://crisislex.org/data-collections.html). The
model of models/network and models/classifier, or with --learn a model of N tweets of each of the
other events, is adapted to each event by labels drawn at random, as `lock` does it, and judged on
the event's other tweets. A learnt model is calibrated in two ways: on tweets of the events that it
has learnt, and for groups that it has not. What is learnt is kept in --results.

Without FOLDER, each kind of event that the keywords of the shipped corpus tell is judged once by a
model that learnt from all tweets but those of this kind, and once by cross-validation; TF-IDF with
logistic regression is the baseline.

The stages make these models, `compute.exact` being false.
"""

import argparse
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split

from common.progress import Progress
from locked.manifest import MANIFEST, NETWORK, read_manifest
from stages import params
from stages.distill.stage import distill
from stages.evaluate.metrics import Truth, calibration_error, wilson
from stages.export.last_layer import last_layer, vector_network
from stages.export.stage import export
from stages.lock.adapt import ADAPTED_THRESHOLD, Floats, Step, Tweets, answers, choose
from stages.lock.stage import lock, tweets_of
from stages.params import Params
from stages.prepare.duplicates import find_duplicates
from stages.prepare.source import read_rows
from stages.prepare.splits import SPLITS
from stages.shared.outputs import CLASSIFIER, PREPARED
from stages.shared.outputs import NETWORK as NETWORK_FOLDER
from stages.train.machine import processor
from stages.train.stage import train
from tests.bench.recipe import FOLD_SEED, VALIDATION, Answers, answer, varied

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


def table(
    tweets: pd.DataFrame, kind: pd.Series, answers: dict[str, dict[str, Answers]]
) -> Iterator[str]:
    """Yield a line for each kind and way of judging it."""
    yield (
        f"{'event':26}{'judged by':18}{'tweets':>7}{'accuracy':>9}{'95 %':>16}{'AUC':>7}"
        f"{'calibration error':>19}"
    )
    for name in answers[next(iter(answers))]:
        rows = (kind == name).to_numpy()
        truth = tweets.loc[rows, "target"].to_numpy()
        for way, of_kind in answers.items():
            scores, said = of_kind[name]
            right = int((said == truth).sum())
            low, high = wilson(right, len(truth))
            yield (
                f"{name:26}{way:18}{len(truth):7}{right / len(truth):9.3f}"
                f"{f'{low:.3f} to {high:.3f}':>16}{roc_auc_score(truth, scores):7.3f}"
                f"{calibration_error(truth, scores):19.3f}"
            )


Figures = list[float]  # accuracy, log loss, calibration error, AUC
Columns = npt.NDArray[np.float32]  # of `vector_network`
Places = tuple[Path, Path]  # the folders of a network and of the locked model


def figures(truth: Truth, scores: Floats, threshold: float) -> Figures:
    """Return the figures of some answers."""
    return [
        float(((scores >= threshold) == truth).mean()),
        float(log_loss(truth, scores)),
        calibration_error(truth, scores),
        float(roc_auc_score(truth, scores)),
    ]


class Judged(NamedTuple):
    """An event as a model that has not learnt it sees it."""

    event: str
    calibrated: str  # for which tweets
    tweets: Tweets
    truth: Truth
    threshold: float

    @classmethod
    def by(cls, event: str, way: str, columns: Columns, truth: Truth, places: Places) -> "Judged":
        """Return the event as the locked model in a folder sees it."""
        network, classifier = places
        manifest = read_manifest(classifier / MANIFEST)
        layer = last_layer(onnx.load(network / NETWORK))
        tweets = tweets_of(columns, layer, manifest.calibration)
        return cls(event, way, tweets, truth, manifest.threshold)


def shipped(tweets: pd.DataFrame, event: pd.Series, p: Params) -> Iterator[Judged]:
    """Yield each event as the locked model sees it."""
    network = vector_network(NETWORK_FOLDER, p.model.max_length, p.compute)
    for name in event.unique():
        own = tweets[event == name]
        columns = network.uncalibrated(own["text"].tolist())
        truth, places = own["target"].to_numpy(), (NETWORK_FOLDER, CLASSIFIER)
        yield Judged.by(name, "shipped", columns, truth, places)


def learnt(
    tweets: pd.DataFrame, event: pd.Series, number: int, p: Params, results: Path
) -> Iterator[Judged]:
    """Yield each event as a model sees it that learnt so many tweets of each of the others."""
    is_learnt = tweets.groupby(event).cumcount() < number
    for name in event.unique():
        work = results / name
        own = tweets[(event == name) & ~is_learnt]
        if not (work / "network").exists():
            work.mkdir(parents=True, exist_ok=True)
            seen = tweets.assign(group=event)[(event != name) & is_learnt]
            kept, held_out = train_test_split(
                seen, test_size=VALIDATION, stratify=seen["target"], random_state=FOLD_SEED
            )
            for split, part in zip(SPLITS, (kept, held_out, own), strict=True):
                part.to_parquet(work / f"{split}.parquet", index=False)
            distill(work, work / "targets.parquet", work / "groups.parquet", p)
            train(work, work / "targets.parquet", work / "model", work / "h", work / "c", p)
            export(work / "model", work, work / "network", p)
        pd.read_parquet(work / "groups.parquet").head(0).to_parquet(work / "none.parquet")
        for way, groups in (("known events", "none"), ("unseen events", "groups")):
            lock(work / "network", work, work / f"{groups}.parquet", None, work / way, p)
            columns = np.load(work / "network" / "test.npy")
            places = work / "network", work / way
            yield Judged.by(name, way, columns, own["target"].to_numpy(), places)


def adapted(own: Judged, number: int, seed: int) -> tuple[Step, Figures]:
    """Return the step that labels choose, and its figures on the other tweets of the event."""
    order = np.random.default_rng([seed, number]).permutation(len(own.truth))
    labelled, others = order[:number], order[number:]
    truth, weights = own.truth[labelled], np.ones(number)
    choice = choose(own.tweets.rows(labelled), truth, weights, own.threshold)
    scores = answers(choice.step, choice.change, own.tweets.rows(others))
    at = own.threshold if choice.step == "none" else ADAPTED_THRESHOLD
    return choice.step, figures(own.truth[others], scores, at)


def adapt_table(events: Iterable[Judged], numbers: list[int], draws: int) -> Iterator[str]:
    """Yield a line for each event and number of labels, and the means over events."""
    yield (
        f"{'event':28}{'calibrated for':16}{'labels':>7}{'accuracy':>10}{'log loss':>10}"
        f"{'calibration':>13}{'AUC':>7}  steps"
    )
    means: dict[tuple[str, int], list[Figures]] = {}
    for own in events:
        for number in (0, *numbers):
            steps: Counter[Step] = Counter()
            drawn = []
            if number == 0:
                scores = answers("none", NOTHING, own.tweets)
                drawn = [figures(own.truth, scores, own.threshold)]
            for seed in range(draws if number else 0):
                step, of_draw = adapted(own, number, seed)
                steps[step] += 1
                drawn.append(of_draw)
            mean = np.mean(drawn, axis=0).tolist()
            means.setdefault((own.calibrated, number), []).append(mean)
            yield line(own.event, own.calibrated, number, mean) + f"  {dict(steps)}"
    for (way, number), of_events in means.items():
        yield line("mean", way, number, np.mean(of_events, axis=0).tolist())


def line(name: str, way: str, number: int, values: Figures) -> str:
    """Return a line of the table of adaptations."""
    accuracy, loss, gap, auc = values
    return f"{name:28}{way:16}{number:7}{accuracy:10.3f}{loss:10.3f}{gap:13.3f}{auc:7.3f}"


def main() -> None:
    """Print one of the two tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--jobs", type=int, default=1, help="models learnt at a time")
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("events", nargs="?", type=Path, metavar="FOLDER")
    arguments.add_argument("--learn", type=int, help="tweets of each other event; none: shipped")
    arguments.add_argument("--results", type=Path, default=Path("models/events"))
    arguments.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 200])
    arguments.add_argument("--draws", type=int, default=30, help="of each number of labels")
    arguments.add_argument("--rows", type=int, default=1000, help="of each of its events")
    chosen = arguments.parse_args()
    p = varied(params.load(), "recipe", params.load().train.seed, chosen.jobs)
    if chosen.events:
        print(f"on {processor()}")
        tweets, event = crisislex(chosen.events, chosen.rows + (chosen.learn or 0))
        events = shipped(tweets, event, p)
        if chosen.learn:
            events = learnt(tweets, event, chosen.learn, p, chosen.results)
        for text in adapt_table(events, chosen.labels, chosen.draws):
            print(text, flush=True)
        return
    tweets = pd.concat([pd.read_parquet(PREPARED / f"{split}.parquet") for split in SPLITS])
    tweets = tweets.sort_values("text").reset_index(drop=True)
    kind = kinds(tweets)
    names = [name for name in kind.unique() if name]
    held_out = [np.flatnonzero(kind == name).tolist() for name in names]
    folds = StratifiedKFold(chosen.folds, shuffle=True, random_state=FOLD_SEED)
    parts = [rows.tolist() for _, rows in folds.split(tweets, tweets["target"])]
    spawn = multiprocessing.get_context("spawn")
    found: dict[str, list[Answers]] = {}
    with (
        tempfile.TemporaryDirectory() as place,
        ProcessPoolExecutor(chosen.jobs, spawn, max_tasks_per_child=1) as pool,
    ):
        pending = [
            (variant, pool.submit(answer, tweets, rows, variant, p, Path(place) / f"{variant}-{n}"))
            for n, rows in enumerate([*held_out, *parts])
            for variant in ("recipe", "tf-idf")
        ]
        for variant, one in Progress(pending, desc="models", unit=" models"):
            found.setdefault(variant, []).append(one.result())
    answers = {}
    for variant, of_part in found.items():
        unknown, known = of_part[: len(names)], of_part[len(names) :]
        scores, said = np.zeros(len(tweets)), np.zeros(len(tweets), dtype=bool)
        for rows, (score, label) in zip(parts, known, strict=True):
            scores[rows], said[rows] = score, label
        name = "ours" if variant == "recipe" else "TF-IDF"
        answers[f"{name}, unknown"] = dict(zip(names, unknown, strict=True))
        answers[f"{name}, known"] = {
            k: (scores[r], said[r]) for k, r in zip(names, held_out, strict=True)
        }
    print(*table(tweets, kind, answers), sep="\n")


if __name__ == "__main__":
    main()
