"""A sample for people to label, who are not told what the model said."""

import csv
from pathlib import Path

import numpy as np

from common.atomic import new_file
from common.errors import InputError
from monitor.window import Log, Rows

SEED = 0
HEADER = ("id", "text", "label", "drawn")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run begins with one of these


def draw(log: Log, number: int, output: Path) -> int:
    """Write a random sample of a log's tweets, each once; return how many they are.

    With a larger `number` over the same days it holds the smaller sample too.

    Raises:
        InputError: the output exists, for it may hold labels.

    """
    chosen = np.random.default_rng(SEED).permutation(log.once())[:number]
    return write(log, chosen, "random", output)


def write(log: Log, chosen: Rows, drawn: str, output: Path) -> int:
    """Write predictions as a file to be labelled; return how many they are."""
    if output.exists():
        raise InputError(f"{output} exists and may hold labels: name another with --output")
    rows = log.lines(chosen)
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for name, text in zip(rows["id"], rows["text"].fillna("").astype(str), strict=True):
            shown = f"'{text}" if text.startswith(FORMULA) else text
            table.writerow([name, shown, "", drawn])
    return len(rows)
