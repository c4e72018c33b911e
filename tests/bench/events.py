"""Accuracy on an event that the model has never seen, before and after an adaptation to it.

    python -m tests.bench.events --adapt FOLDER [--labels N ...] [--draws N] [--rows N]
    python -m tests.bench.events [--jobs N] [--folds N] [--crisislex FOLDER [--rows N]]

FOLDER has a CSV for each event of CrisisLexT6 (https://crisislex.org/data-collections.html).

With --adapt, the model of models/network and models/classifier is adapted to each event by labels
drawn at random, as `lock` does it, and judged on the event's other tweets; nothing is trained.

Else each event is judged once by a model that learnt from all tweets but those of this event, and
once by cross-validation. The events are those of FOLDER, or the kinds of event that the keywords of
the shipped corpus tell. The stages make these models, `compute.exact` being false; TF-IDF with
logistic regression is the baseline.
"""

import argparse
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from common.progress import Progress
from locked.manifest import MANIFEST, NETWORK, read_manifest
from stages import params
from stages.evaluate.metrics import Truth, calibration_error, wilson
from stages.export.last_layer import last_layer, vector_network
from stages.lock.adapt import ADAPTED_THRESHOLD, Floats, Step, Tweets, answers, choose
from stages.lock.stage import tweets_of
from stages.prepare.duplicates import find_duplicates
from stages.prepare.source import read_rows
from stages.prepare.splits import SPLITS
from stages.shared.outputs import CLASSIFIER, PREPARED
from stages.shared.outputs import NETWORK as NETWORK_FOLDER
from stages.train.machine import processor
from tests.bench.recipe import FOLD_SEED, Answers, answer, varied

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


Figures = list[float]  # accuracy, log loss, calibration error


def figures(truth: Truth, scores: Floats, threshold: float) -> Figures:
    """Return the three figures of some answers."""
    accuracy = float(((scores >= threshold) == truth).mean())
    return [accuracy, float(log_loss(truth, scores)), calibration_error(truth, scores)]


def adapted(
    tweets: Tweets, truth: Truth, number: int, seed: int, threshold: float
) -> tuple[Step, Figures]:
    """Return the step that labels choose, and its figures on the other tweets of the event."""
    order = np.random.default_rng([seed, number]).permutation(len(truth))
    labelled, others = order[:number], order[number:]
    choice = choose(tweets.rows(labelled), truth[labelled], np.ones(number), threshold)
    scores = answers(choice.step, choice.change, tweets.rows(others))
    at = threshold if choice.step == "none" else ADAPTED_THRESHOLD
    return choice.step, figures(truth[others], scores, at)


def adapt_table(folder: Path, rows: int, numbers: list[int], draws: int) -> Iterator[str]:
    """Yield a line for each event and number of labels, and the means over events."""
    p = params.load()
    manifest = read_manifest(CLASSIFIER / MANIFEST)
    tweets, event = crisislex(folder, rows)
    compute = p.compute.model_copy(update={"exact": False})
    network = vector_network(NETWORK_FOLDER, manifest.max_length, compute)
    columns = network.uncalibrated(tweets["text"].tolist())
    layer = last_layer(onnx.load(NETWORK_FOLDER / NETWORK))
    seen = tweets_of(columns, layer, manifest.calibration)
    truth = tweets["target"].to_numpy()
    yield f"{'event':28}{'labels':>7}{'accuracy':>10}{'log loss':>10}{'calibration':>13}  steps"
    means: dict[int, list[Figures]] = {}
    for name in event.unique():
        places = np.flatnonzero(event == name)
        own, own_truth = seen.rows(places), truth[places]
        for number in (0, *numbers):
            steps: Counter[Step] = Counter()
            drawn = []
            if number == 0:
                drawn = [figures(own_truth, answers("none", NOTHING, own), manifest.threshold)]
            for seed in range(draws if number else 0):
                step, of_draw = adapted(own, own_truth, number, seed, manifest.threshold)
                steps[step] += 1
                drawn.append(of_draw)
            mean = np.mean(drawn, axis=0).tolist()
            means.setdefault(number, []).append(mean)
            yield line(name, number, mean) + f"  {dict(steps)}"
    for number, of_events in means.items():
        yield line("mean", number, np.mean(of_events, axis=0).tolist())


def line(name: str, number: int, values: Figures) -> str:
    """Return a line of the table of adaptations."""
    accuracy, loss, gap = values
    return f"{name:28}{number:7}{accuracy:10.3f}{loss:10.3f}{gap:13.3f}"


def main() -> None:
    """Print one of the two tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--jobs", type=int, default=1, help="models learnt at a time")
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--crisislex", type=Path, metavar="FOLDER")
    arguments.add_argument("--adapt", type=Path, metavar="FOLDER")
    arguments.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 200])
    arguments.add_argument("--draws", type=int, default=10, help="of each number of labels")
    arguments.add_argument("--rows", type=int, default=1000, help="of each of its events")
    chosen = arguments.parse_args()
    if chosen.adapt:
        print(f"on {processor()}")
        for text in adapt_table(chosen.adapt, chosen.rows, chosen.labels, chosen.draws):
            print(text, flush=True)
        return
    p = varied(params.load(), "recipe", params.load().train.seed, chosen.jobs)
    if chosen.crisislex:
        tweets, kind = crisislex(chosen.crisislex, chosen.rows)
    else:
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
