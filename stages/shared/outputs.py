"""The paths of the stages' outputs, as in dvc.yaml; reads and writes them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from common.atomic import new_file
from common.errors import InputError

PREPARED = Path("data/prepared")  # {train,validation,test}.parquet, report.json
TARGETS = Path("data/targets.parquet")  # what to learn of each training tweet: id, target
GROUPS = Path("data/groups.parquet")  # a teacher's answers to known and unseen groups
CHECKPOINT = Path("models/checkpoint")  # torch weights in safetensors, config.json, tokenizer.json
HISTORY = Path("models/training")  # learning curves, by DVCLive; speed/, profile/ beside it
MACHINE = Path("models/speed/machine.json")  # where the training ran, and for how long
CHECKPOINTS = Path("models/checkpoints")  # of a training under way
NETWORK = Path("models/network")  # int8 network, tokenizer.json, {validation,test}.npy
LABELS = Path("data/labels")  # labelled tweets of events, a CSV each
NO_EVENT = "none.csv"  # the one without labels, because a dependency of `train` must exist
CLASSIFIER = Path("models/classifier")  # the locked model
ANSWERS = Path("models/answers.npy")  # of the locked model to the test split, uncalibrated
PARITY = Path("models/parity.json")  # int8 against fp32
EVALUATION = Path("models/evaluation")  # predictions, plots, slices, mistakes, model card
METRICS = Path("models/metrics.json")  # the figures that experiments are compared by
REPORT = Path("models/report.json")  # all figures with intervals, and the baseline


def labels_of(event: str) -> Path | None:
    """Return the labelled tweets of an event by their file's name; there may be none."""
    return None if event == NO_EVENT else LABELS / event


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write `value` as stable, readable JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with new_file(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_tweets(path: Path) -> pd.DataFrame:
    """Return the rows of a Parquet file that another stage wrote.

    Raises InputError if the file is damaged or empty, as after a power cut.
    """
    reason = "it has no rows"
    try:
        if len(rows := pd.read_parquet(path)):
            return rows
    except pyarrow.ArrowException as error:
        reason = str(error)
    raise InputError(
        f"{path}: cannot be used: {reason}. `python -m experiments.restore` removes damaged files, "
        "from DVC's cache too; then repeat `dvc repro`"
    )
