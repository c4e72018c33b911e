"""Accuracy on kinds of event that a model has not learnt, on the shipped corpus.

    python -m tests.bench.kinds [--folds N]

Each kind of event that the keywords tell is judged once by a model that learnt from all tweets but
those of this kind, and once by cross-validation. The stages make these models, `compute.exact`
being false.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from common.progress import Progress
from stages import params
from stages.params import Params
from stages.prepare.splits import SPLITS
from stages.shared.outputs import PREPARED
from stages.train.machine import processor
from tests.bench.recipe import FOLD_SEED, answer, varied

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
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--folds", type=int, default=5)
    p = varied(params.load(), "recipe", params.load().train.seed, 1)
    print(f"on {processor()}")
    print_kinds(p, arguments.parse_args().folds)


if __name__ == "__main__":
    main()
