"""A sample for people to label, who are not told what the model said."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.atomic import new_file
from common.errors import InputError
from monitor.window import Log, find

SEED = 0
HEADER = ("id", "text", "label", "drawn")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run begins with one of these


def draw(places: list[str], log: Log, number: int, output: Path) -> int:
    """Write a random sample of a log's tweets, each once; return how many they are.

    With a larger `number` over the same days it holds the smaller sample too.

    Raises:
        InputError: the output exists, for it may hold labels.

    """
    chosen = np.random.default_rng(SEED).permutation(log.once())[:number]
    return write(places, log.ids[chosen], "random", output)


def write(places: list[str], ids: npt.NDArray[np.uint64], drawn: str, output: Path) -> int:
    """Write predictions, by the hashes of their ids, as a file to be labelled."""
    if output.exists():
        raise InputError(f"{output} exists and may hold labels: name another with --output")
    rows = find(places, ids)
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for name, text in zip(rows["id"], rows["text"].fillna("").astype(str), strict=True):
            shown = f"'{text}" if text.startswith(FORMULA) else text
            table.writerow([name, shown, "", drawn])
    return len(rows)
