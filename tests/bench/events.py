"""Does a model know an event, or a kind of event, that it has never seen?

    python -m tests.bench.events [--jobs N] [--folds N] [--crisislex FOLDER [--rows N]]

The tweets of the shipped corpus whose keyword tells the kind of event, or those of CrisisLexT6
(https://crisislex.org/data-collections.html), a file an event: each is judged once by a model that
learnt from all tweets but those of this event, and once by cross-validation, where it is known.
Both are taught, trained, quantised and locked by the stages, `compute.exact` being false;
TF-IDF with logistic regression beside them.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from common.progress import Progress
from stages import params
from stages.evaluate.metrics import calibration_error, wilson
from stages.prepare.source import write_rows
from stages.prepare.splits import SPLITS
from stages.shared.outputs import PREPARED
from tests.bench.recipe import FOLD_SEED, Answers, answer, varied

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
    with tempfile.TemporaryDirectory() as place:
        source = write_rows(p, Path(place) / "staged")
        tweets = pd.read_parquet(Path(place) / "staged")
    tweets["event"] = [Path(name).stem for name in source.split_by.to_pylist()]
    alone = tweets[~pd.Series(source.duplicates.near).duplicated(keep="first")]
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


def main() -> None:
    """Hold each kind out, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--jobs", type=int, default=1, help="models learnt at a time")
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--crisislex", type=Path, metavar="FOLDER")
    arguments.add_argument("--rows", type=int, default=1000, help="of each of its events")
    chosen = arguments.parse_args()
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
