"""The paths of the stages' outputs, as in dvc.yaml, and functions that read and write them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from common.atomic import new_file
from common.errors import InputError

PREPARED = Path("data/prepared")  # {train,validation,test}.parquet, report.json
TARGETS = Path("data/targets.parquet")  # id and soft target of each training tweet
GROUPS = Path("data/groups.parquet")  # a teacher's answers to known and unseen groups
CHECKPOINT = Path("models/checkpoint")  # torch weights in safetensors, config.json, tokenizer.json
HISTORY = Path("models/training")  # learning curves, by DVCLive; its speed is in models/speed
MACHINE = Path("models/speed/machine.json")  # the machine and duration of the training
CHECKPOINTS = Path("models/checkpoints")  # of a running training
LABELS = Path("data/labels")  # labelled tweets, a CSV for each event
PAIRS = Path("data/pairs")  # CSV files of contrast pairs
EMPTY = "none.csv"  # an empty CSV in LABELS and PAIRS, because a dependency of a stage must exist
CLASSIFIER = Path("models/classifier")  # the locked model
ANSWERS = Path("models/answers.npy")  # of the locked model to the test split, uncalibrated
PARITY = Path("models/parity.json")  # int8 against fp32
EVALUATION = Path("models/evaluation")  # predictions, plots, slices, mistakes, model card
METRICS = Path("models/metrics.json")  # the figures by which experiments are compared
REPORT = Path("models/report.json")  # all figures with their intervals, and the baseline's


def get_csv_path(name: str, folder: Path) -> Path | None:
    """Return the path of a CSV in LABELS or PAIRS; None for EMPTY."""
    return None if name == EMPTY else folder / name


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write `value` as stable, readable JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with new_file(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_tweets(path: Path) -> pd.DataFrame:
    """Return the tweets in a Parquet file of another stage.

    Raises InputError if the file is damaged or has no rows, for instance after a power cut.
    """
    reason = "it has no rows"
    try:
        if len(rows := pd.read_parquet(path)):
            return rows
    except FileNotFoundError:
        reason = "no such file"
    except pyarrow.ArrowException as error:
        reason = str(error)
    raise InputError(
        f"{path}: cannot be used: {reason}. The end of docs/experiments.md says how to replace a "
        "damaged file"
    )
