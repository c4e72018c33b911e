"""Do the monitor's intervals hold on a disaster that the model has never seen?

    python -m tests.bench.drift FOLDER [--windows N]

CrisisLexT6 (Olteanu et al. 2014, https://crisislex.org): six events, 10 000 tweets each, on-topic
or not. Each event is held out once: TF-IDF with logistic regression learns from parts of the five
others and is calibrated on others; still others are its reference. Windows are then drawn from the
rest: with other shares of on-topic tweets, with some of the unseen event, or of it alone, in its
order of time. A minute or two an event.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from common.progress import Progress
from locked.classifier import calibrate
from locked.features import features
from locked.reference import Reference
from monitor import drift
from monitor.prevalence import count
from monitor.quality import Measured, estimate, labels_needed, reviewed
from monitor.verdict import DROP, MARGIN
from stages.lock.calibration import fit

EPOCH = 1288834974657  # milliseconds, in the ids of tweets
HELD_OUT = 600  # of the reference, as the shipped corpus has
SIZES = (300, 1000, 3000)  # tweets of a window
REVIEWS = (50, 100, 200, 400, 800, 1600)  # labels
PARTS = {"learn": 0.4, "calibrate": 0.1, "reference": 0.1}  # of the known events; the rest is live
SEED = 0

Rows = npt.NDArray[np.intp]


@dataclass
class Answers:
    """Tweets with what is true and what the model says."""

    texts: npt.NDArray[np.object_]
    features: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int8]
    probabilities: npt.NDArray[np.float32]

    def right(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return np.asarray((self.probabilities[rows] >= 0.5) == self.labels[rows])


def read(folder: Path) -> pd.DataFrame:
    """Return all tweets in the order of their time: text, target, event."""
    tables = []
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path, dtype=str, quotechar='"', skipinitialspace=True)
        table.columns = ["id", "text", "label"]
        ids = table["id"].str.strip("' ").astype(np.int64).to_numpy()
        milliseconds = (ids >> 22) + EPOCH
        table["time"] = pd.to_datetime(milliseconds, unit="ms")
        table["target"] = (table["label"].str.strip() == "on-topic").astype(np.int8)
        tables.append(table.assign(event=path.stem).drop_duplicates("text").sort_values("time"))
    return pd.concat(tables, ignore_index=True)


def learn(tweets: pd.DataFrame, event: str) -> tuple[Reference, list[str], Answers, Answers]:
    """Learn from all events but one.

    Returns:
        the reference, texts it learnt from, live tweets of known events, and those of the unseen.

    """
    chance = np.random.default_rng(SEED)
    known = tweets[tweets["event"] != event]
    place = chance.random(len(known))
    edges = np.cumsum([*PARTS.values()])
    learnt, calibrating, held_out, live = (
        known[np.searchsorted(edges, place, side="right") == part] for part in range(4)
    )
    held_out = held_out.sample(HELD_OUT, random_state=SEED)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True),
        LogisticRegression(C=4, max_iter=300),
    ).fit(learnt["text"], learnt["target"])
    by = fit(calibrating["target"].to_numpy(), model.predict_proba(calibrating["text"])[:, 1])

    def said(some: pd.DataFrame) -> npt.NDArray[np.float32]:
        return calibrate(model.predict_proba(some["text"])[:, 1], by)

    texts = learnt["text"].tolist()
    share, of_them = float(learnt["target"].mean()), held_out["target"].to_numpy()
    reference = Reference.of(texts, share, held_out["text"].tolist(), said(held_out), of_them)
    vocabulary = frozenset(reference.vocabulary.tolist())

    def answers(some: pd.DataFrame) -> Answers:
        found = np.array([[*features(text, vocabulary).values()] for text in some["text"]])
        labels = some["target"].to_numpy()
        return Answers(some["text"].to_numpy(dtype=object), found, labels, said(some))

    return reference, texts, answers(live), answers(tweets[tweets["event"] == event])


def holds(reference: Reference, live: Answers, rows: Rows) -> tuple[bool, float, float]:
    """Tell whether the estimate's interval holds the accuracy; its width, and how far it is off."""
    said = live.probabilities[rows]
    alike = drift.weights(reference.features, live.features[rows])
    found = estimate(reference, count(said, said >= 0.5), alike)["accuracy"]
    true = float(live.right(rows).mean())
    return found.low <= true <= found.high, found.high - found.low, found.value - true


def shifted(live: Answers, size: int, chance: np.random.Generator) -> Rows:
    """Draw a window with any share of on-topic tweets from 5 to 90 %."""
    on_topic = int(size * chance.uniform(0.05, 0.9))
    classes = [np.flatnonzero(live.labels == label) for label in (0, 1)]
    sizes = (size - on_topic, on_topic)
    return np.concatenate(
        [chance.choice(rows, n, replace=False) for rows, n in zip(classes, sizes, strict=True)]
    )


def joined(known: Answers, unseen: Answers) -> Answers:
    """Put the unseen event's tweets behind the known ones."""
    pairs = zip(vars(known).values(), vars(unseen).values(), strict=True)
    return Answers(*(np.concatenate(pair) for pair in pairs))


def windows(known: int, unseen: int, number: int) -> Iterator[tuple[str, Rows]]:
    """Yield mixtures of known tweets with a stretch of the unseen event, in its order of time."""
    chance = np.random.default_rng(SEED)
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        for n in range(number):
            size = SIZES[n % len(SIZES)]
            new = int(share * size)
            start = int(chance.integers(0, unseen - new + 1))
            old = chance.choice(known, size - new, replace=False)
            yield f"{share:.0%} unseen", np.concatenate([old, known + start + np.arange(new)])


def drifted(
    reference: Reference, learnt: list[str], live: Answers, rows: Rows
) -> tuple[bool, bool]:
    """Tell whether drift is seen in the features, and in the words."""
    found, same = live.features[rows], reference.probabilities
    effects = drift.effects(reference.features, found, same, same)
    told = drift.told_by_features(reference.features, found)
    words, _ = drift.told_by_words(learnt, live.texts[rows].tolist())
    moved = any(one.moved for one in effects.values())
    return moved or bool(told and told.drifted), bool(words and words.drifted)


def main() -> None:
    """Hold each event out, and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--windows", type=int, default=24, help="of each kind and event")
    chosen = arguments.parse_args()
    tweets = read(chosen.folder)
    print(f"{len(tweets)} different tweets, {tweets['target'].mean():.1%} on-topic")
    seen: dict[str, list[tuple[bool, float, float]]] = defaultdict(list)
    drifts: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    acts: dict[tuple[float, int], list[bool]] = defaultdict(list)
    print(f"{'unseen event':28}{'reference':>10}{'known':>8}{'unseen':>8}{'AUC':>7}")
    for event in Progress(tweets["event"].unique(), desc="events", unit=" events"):
        reference, learnt, known, unseen = learn(tweets, event)
        accuracy = float(((reference.probabilities >= 0.5) == reference.labels).mean())
        of_known, of_unseen = (
            float(one.right(np.arange(len(one.labels))).mean()) for one in (known, unseen)
        )
        auc = roc_auc_score(unseen.labels, unseen.probabilities)
        print(f"{event:28}{accuracy:10.3f}{of_known:8.3f}{of_unseen:8.3f}{auc:7.3f}")
        chance = np.random.default_rng(SEED)
        for n in range(chosen.windows):
            rows = shifted(known, SIZES[n % len(SIZES)], chance)
            seen["other share, all known"].append(holds(reference, known, rows))
        both = joined(known, unseen)
        for number, (name, rows) in enumerate(
            windows(len(known.labels), len(unseen.labels), chosen.windows)
        ):
            seen[name].append(holds(reference, both, rows))
            if number % 6 == 1:
                drifts[name].append(drifted(reference, learnt, both, rows))
        for drop in (0.0, DROP, 0.15):
            for size in REVIEWS:
                for _ in range(200):
                    rows = chance.choice(len(known.labels), size, replace=False)
                    lost = chance.random(size) < drop / of_known
                    found: Measured = reviewed(known.right(rows) & ~lost)
                    acts[drop, size].append(found.accuracy.high < accuracy - MARGIN)
    header = f"{'windows':24}{'held':>7}{'of':>6}{'width':>8}{'off':>8}"
    print(f"\n{header}{'drift: features':>17}{'words':>7}")
    for name, found_in in seen.items():
        held, width, off = (np.mean(values) for values in zip(*found_in, strict=True))
        line = f"{name:24}{held:7.1%}{len(found_in):6}{width:8.3f}{off:+8.3f}"
        if drifts[name]:
            in_features, in_words = np.mean(drifts[name], axis=0)
            line += f"{in_features:17.0%}{in_words:7.0%}"
        print(line)
    print("\n`act`, by the drop of accuracy and the labels reviewed")
    print(f"{'drop':>6}" + "".join(f"{size:>8}" for size in REVIEWS))
    for drop in (0.0, DROP, 0.15):
        rates = [np.mean(acts[drop, size]) for size in REVIEWS]
        print(f"{drop:6.2f}" + "".join(f"{rate:8.1%}" for rate in rates))
    print(f"labels said to be needed at .9: {labels_needed(0.9 - DROP, 0.9 - MARGIN)}")


if __name__ == "__main__":
    main()
