"""Do the monitor's intervals hold on a disaster that the model has never seen?

    python -m tests.bench.estimates FOLDER [--model models/classifier] [--windows N] [--rows N]

CrisisLexT6 (Olteanu et al. 2014, https://crisislex.org): six events, on-topic tweets or not. Two
models answer: the locked one, which has seen none of these events, and, with each event held out, a
logistic regression on the base model's frozen vectors of the five others. Windows mix known tweets
with those of the unseen event, at any share of disasters from .1 to .8. Four minutes on two cores.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from common.progress import Progress
from locked.classifier import Classifier, log_odds
from locked.reference import Reference
from monitor.quality import Answers, Figure, Labels, estimate
from monitor.verdict import MARGIN
from stages import params
from stages.distill.stage import embed

SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)  # of the unseen event
SIZES = (300, 1000)  # tweets of a window
LABELS = (0, 20, 50, 100, 200, 250)
DROPS = {"none": (-0.01, 0.01), "5 points": (0.035, 0.065), "15 points": (0.12, 0.18)}
SEED = 0

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int8]


@dataclass
class Tweets:
    """Tweets with the log-odds that a model answers, and their true labels."""

    odds: Floats
    targets: Targets

    def take(self, number: int, share: float, chance: np.random.Generator) -> "Tweets":
        """Draw tweets with this share of disasters, or as near to it as the classes allow."""
        others, disasters = (np.flatnonzero(self.targets == target) for target in (0, 1))
        count = int(np.clip(share * number, number - len(others), len(disasters)))
        drawn = [
            chance.choice(rows, n, replace=False)
            for rows, n in ((others, number - count), (disasters, count))
        ]
        rows = np.concatenate(drawn)
        return Tweets(self.odds[rows], self.targets[rows])


def read(folder: Path, rows: int) -> pd.DataFrame:
    """Return some different tweets of each event: id, text, target, event."""
    tables = []
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path, dtype=str, quotechar='"', skipinitialspace=True)
        table.columns = ["id", "text", "label"]
        table["target"] = (table["label"].str.strip() == "on-topic").astype(np.int8)
        table = table.drop_duplicates("text").sample(rows, random_state=SEED)
        tables.append(table.assign(event=path.stem, keyword=""))
    return pd.concat(tables, ignore_index=True)


def locked(tweets: pd.DataFrame, folder: Path) -> Iterator[tuple[str, Tweets, Tweets]]:
    """Yield each event, the locked model's reference and its answers to the event."""
    reference = Reference.load(folder)
    held_out = Tweets(log_odds(reference.probabilities), reference.labels)
    classifier = Classifier(folder)
    for event, own in tweets.groupby("event", sort=False):
        odds = log_odds(classifier.probabilities(own["text"].tolist()))
        yield str(event), held_out, Tweets(odds, own["target"].to_numpy())


def frozen_vectors(tweets: pd.DataFrame) -> Iterator[tuple[str, Tweets, Tweets]]:
    """Yield each event, answers to tweets of the others, and to its own, by a model without it."""
    vectors, targets = embed(tweets, params.load()), tweets["target"].to_numpy()
    part = np.random.default_rng(SEED).random(len(tweets))
    for event in tweets["event"].unique():
        unseen = (tweets["event"] == event).to_numpy()
        learnt, calibrating = ~unseen & (part < 0.4), ~unseen & (part >= 0.4) & (part < 0.5)
        held_out = ~unseen & (part >= 0.5)
        model = LogisticRegression(C=20, max_iter=500).fit(vectors[learnt], targets[learnt])
        raw = model.decision_function(vectors)[:, None]
        platt = LogisticRegression(C=1000).fit(raw[calibrating], targets[calibrating])
        odds = platt.decision_function(raw)
        yield (
            event,
            Tweets(odds[held_out], targets[held_out]),
            Tweets(odds[unseen], targets[unseen]),
        )


def windows(known: Tweets, unseen: Tweets, number: int, event: str) -> Iterator[tuple[str, Tweets]]:
    """Yield mixtures of known tweets with the unseen event, named by its share."""
    chance = np.random.default_rng([SEED, *event.encode()])
    for share in SHARES:
        for size in SIZES:
            for _ in range(number):
                disasters = chance.uniform(0.1, 0.8)
                own = int(share * size)
                rest = min(size - own, int(0.6 * len(known.odds)))  # the reference has few
                own = int(share * rest / (1 - share)) if share < 1 else size
                parts = [known.take(rest, disasters, chance), unseen.take(own, disasters, chance)]
                pairs = zip(*(vars(one).values() for one in parts), strict=True)
                yield f"{share:.0%} unseen", Tweets(*(np.concatenate(pair) for pair in pairs))


def wilson(is_right: npt.NDArray[np.bool_]) -> Figure:
    """Return accuracy by labels alone: Wilson 1927."""
    if not len(is_right):
        return Figure(np.nan, 0.0, 1.0)
    share = binomtest(int(is_right.sum()), len(is_right)).proportion_ci(method="wilson")
    return Figure(float(is_right.mean()), share.low, share.high)


def judge(name: str, events: Iterator[tuple[str, Tweets, Tweets]], number: int) -> pd.DataFrame:
    """Return a row for each event, window, number of labels and method."""
    rows: list[tuple[object, ...]] = []
    for event, known, unseen in Progress(events, desc=name, unit=" events"):
        reference = float(((known.odds >= 0) == known.targets).mean())
        for kind, window in windows(known, unseen, number, event):
            chance, size = np.random.default_rng(len(rows)), len(window.odds)
            answers = Answers(expit(window.odds), window.odds >= 0)
            is_right, order = answers.disaster == window.targets, chance.permutation(size)
            for labels in (n for n in LABELS if n < size):
                drawn = order[:labels]
                estimated = estimate(answers, Labels(drawn, window.targets[drawn]))["accuracy"]
                figures = {"random": estimated, "Wilson": wilson(is_right[drawn])}
                if not labels:  # of independent tweets whose probabilities are right
                    confidence = np.maximum(answers.probabilities, 1 - answers.probabilities)
                    half = 1.96 * np.sqrt((confidence * (1 - confidence)).sum()) / size
                    mean = float(confidence.mean())
                    figures["average confidence"] = Figure(mean, mean - half, mean + half)
                for method, figure in figures.items():
                    row = (name, event, kind, size, labels, method, is_right.mean(), reference)
                    rows.append((*row, figure.low, figure.high))
    columns = "model event kind size labels method accuracy reference low high"
    return pd.DataFrame(rows, columns=columns.split())


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--model", type=Path, default=Path("models/classifier"))
    arguments.add_argument("--windows", type=int, default=10, help="of each kind, size and event")
    arguments.add_argument("--rows", type=int, default=3000, help="of each event")
    chosen = arguments.parse_args()
    tweets = read(chosen.folder, chosen.rows)
    models = {"locked": locked(tweets, chosen.model), "frozen vectors": frozen_vectors(tweets)}
    table = pd.concat([judge(name, events, chosen.windows) for name, events in models.items()])
    table["width"] = table["high"] - table["low"]
    edge = 1e-9
    table["held"] = table["accuracy"].between(table["low"] - edge, table["high"] + edge)
    random = table[table["method"] == "random"]
    print(f"{(random['labels'] == 0).sum()} windows; 95 % intervals: share that hold the accuracy,")
    print("and their width; then random labels by the kind of window")
    for part, by in ((table, ["model", "method"]), (random, ["model", "kind"])):
        means = part.groupby([*by, "labels"])[["held", "width"]].mean().unstack("labels")
        print(means.round(3).to_string(na_rep=""), end="\n\n")
    drop = table["reference"] - table["accuracy"]
    acts = table.assign(act=table["high"] < table["reference"] - MARGIN)
    for name, (least, most) in DROPS.items():
        part = acts[drop.between(least, most) & (table["size"] >= 500) & (table["labels"] > 0)]
        print(f"share of windows judged `act`, accuracy lower by {name}")
        print(part.groupby(["method", "labels"])["act"].agg(["mean", "size"]).unstack().round(2))


if __name__ == "__main__":
    main()
