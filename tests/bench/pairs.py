"""How often is a model right on both tweets of a contrast pair?

    python -m tests.bench.pairs [--model models/classifier]

The two tweets of a pair in pairs.csv share most of their words, but not their label (Gardner et al.
2020, https://arxiv.org/abs/2004.02709): a drill and a fire, an anniversary and a report, a film and
a street. They were written for this project, and no model has learnt them.
"""

import argparse
from pathlib import Path

import pandas as pd

from locked.classifier import Classifier
from locked.cpus import cpus
from locked.labels import LABELS
from stages.evaluate.metrics import wilson

PAIRS = Path(__file__).with_suffix(".csv")


def main() -> None:
    """Print two shares of pairs, each with its 95 % interval."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pairs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, default=Path("models/classifier"))
    model = Classifier(parser.parse_args().model, cpus())
    tweets = pd.read_csv(PAIRS)
    tweets["probability"] = model.probabilities(tweets["text"].tolist())
    sides = [tweets[tweets["label"] == label].set_index("pair")["probability"] for label in LABELS]
    table = pd.concat(sides, axis=1, keys=LABELS)
    threshold = model.manifest.threshold
    both = (table[LABELS[0]] < threshold) & (table[LABELS[1]] >= threshold)
    ranked = table[LABELS[0]] < table[LABELS[1]]
    for name, right in (("both right", both), ("the disaster is the likelier one", ranked)):
        low, high = wilson(int(right.sum()), len(right))
        print(f"{name}: {right.mean():.3f} of {len(right)} pairs (95 % {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
