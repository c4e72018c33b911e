"""The model card: what the locked model is, how it did, and what it is not for."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from locked.manifest import Manifest
from stages.evaluate.metrics import CALIBRATION_BINS
from stages.evaluate.robustness import TWEETS

if TYPE_CHECKING:
    from stages.params import Params

TEMPLATE = """\
# Model card: disaster-tweets {version}

Tells whether a tweet reports a real disaster. English, at most {max_length} tokens; links and
mentions are read as one word each.

| | |
|---|---|
| Starts from | {base} at `{revision}` |
| Trained on | `{source}`, train split, SHA-256 `{data_hash:.16}…` |
| Recipe | peak learning rate {lr}, batches of {batch_size}, at most {epochs} epochs, seed {seed} |
| Runs as | int8 network in ONNX, on a CPU |
| Calls it a disaster from | P = {threshold} (chosen on the validation split) |

## How it does

On {rows} tweets of the test split, which took no part in training or in choosing the threshold.
Intervals are 95 % bootstrap intervals; the baseline is TF-IDF with logistic regression.

{metrics}

It {verdict} the minimums of params.yaml: {minimum}.

## Are its probabilities what they say?

The network's answers are calibrated on the validation split: log-odds times {scale}, plus {shift}.

{calibration}

Of the test tweets with a probability in each range, the mean that is said and the share of
disasters that is seen:

{reliability}

## Does it drift?

Up to {most} tweets of the test split, changed in ways that should not matter: how many get another
label.

{steady}

And up to {most} that it calls disasters, after words that should make that less likely: how many
get a lower probability, and by how much it falls.

{falling}

## Where it does better and worse

{slices}

## Limits

- It judges the words of one tweet, not whether what they say is true.
- It knows the kinds of event and the voices of its training data; a new kind, another language or
  another medium can fall below these figures. Measure on your own data before you rely on it.
- It is no substitute for an emergency service: it misses disasters, and raises false alarms.
"""


def render(
    manifest: Manifest,
    report: dict[str, Any],
    slices: pd.DataFrame,
    before_after: tuple[pd.DataFrame, pd.DataFrame],
    steadiness: pd.DataFrame,
    p: "Params",
) -> str:
    """Return the model card as Markdown."""
    return TEMPLATE.format(
        version=manifest.version,
        max_length=manifest.max_length,
        base=manifest.base_model.name,
        revision=manifest.base_model.revision or manifest.base_model.sha256[:16],
        source=p.prepare.source,
        data_hash=manifest.training_data_sha256,
        lr=p.train.lr,
        batch_size=p.train.batch_size,
        epochs=p.train.epochs,
        seed=p.train.seed,
        threshold=manifest.threshold,
        rows=report["rows"],
        metrics=metrics_table(report),
        verdict="reaches" if report["passed"] else "**does not reach**",
        minimum=", ".join(f"{name} {least}" for name, least in p.evaluate.minimum),
        scale=manifest.calibration.scale,
        shift=manifest.calibration.shift,
        calibration=calibration_table(report),
        reliability=reliability_table(*before_after),
        most=TWEETS,
        steady=robustness_table(steadiness, "stay"),
        falling=robustness_table(steadiness, "fall"),
        slices=_table(
            ["Slice", "Tweets", "Disasters", "Accuracy"],
            [
                [
                    f"{row.slice}: {row.value}",
                    row.rows,
                    f"{row.positive_share:.2f}",
                    f"{row.accuracy:.3f}",
                ]
                for row in slices.itertuples()
            ],
        ),
    )


def metrics_table(report: dict[str, Any]) -> str:
    """Return the table of figures that the model card and the README show."""
    return _table(
        ["", "Value", "95 % interval", "Baseline"],
        [
            [
                name.replace("_", " "),
                f"{value:.3f}",
                "{:.3f} to {:.3f}".format(*report["interval_95"][name]),
                f"{report['baseline'][name]:.3f}",
            ]
            for name, value in report["test"].items()
        ],
    )


def calibration_table(report: dict[str, Any]) -> str:
    """Return the figures that calibration is for, before and after it."""
    before = report["uncalibrated"]
    return _table(
        ["", "Uncalibrated", "95 % interval", "Calibrated", "95 % interval"],
        [
            [
                name.replace("_", " "),
                f"{value:.3f}",
                "{:.3f} to {:.3f}".format(*before["interval_95"][name]),
                f"{report['test'][name]:.3f}",
                "{:.3f} to {:.3f}".format(*report["interval_95"][name]),
            ]
            for name, value in before["test"].items()
        ],
    )


def reliability_table(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return what is said and seen in each range of probability, before and after calibration."""
    bins = range(CALIBRATION_BINS)
    cells = [
        [
            f"{tweets:.0f} | {predicted:.2f} | {observed:.2f}" if tweets else "0 | |"
            for predicted, observed, tweets in (
                side.set_index("bin")[["predicted", "observed", "tweets"]]
                .reindex(bins)
                .fillna(0)
                .to_numpy()
            )
        ]
        for side in (before, after)
    ]
    width = 1 / CALIBRATION_BINS
    return _table(
        ["P", "Uncalibrated: tweets", "said", "seen", "Calibrated: tweets", "said", "seen"],
        [[f"{n * width:.1f} to {(n + 1) * width:.1f}", cells[0][n], cells[1][n]] for n in bins],
    )


def robustness_table(steadiness: pd.DataFrame, test: str) -> str:
    """Return the tests of one kind, "stay" or "fall"."""
    rows = steadiness[steadiness["test"] == test]
    return _table(
        ["Change", "Tweets", "Another label" if test == "stay" else "Lower", "95 %", "Mean change"],
        [
            [
                row.change,
                row.tweets,
                f"{row.share:.1%}",
                f"{row.low:.1%} to {row.high:.1%}",
                f"{row.difference:+.3f}",
            ]
            for row in rows.itertuples()
        ],
    )


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
