"""A sample for people to label, who do not see what the model answered: a CSV, and a page."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from common.atomic import new_file
from common.errors import InputError
from common.hashing import sha256_of
from common.page import render
from locked.classifier import log_odds
from locked.unseen import SCALE_SPREAD, SHIFT_SPREAD
from monitor.quality import REACH_OF_ONE_LABEL, REACH_UNLABELLED
from monitor.window import Log, Rows

SEED = 0
HEADER = ("id", "text", "label", "drawn")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # the characters that begin a spreadsheet's formula
STEPS = 60  # of bisection


def draw(log: Log, number: int, output: Path, near_threshold: bool = False) -> int:
    """Write a sample of a log's tweets, each once; return how many they are.

    A sample of a larger `number` from the same days holds the smaller one.

    Raises:
        InputError: the output exists, for it may hold labels.

    """
    rows = log.once()
    sizes = doubt(log.probabilities[rows]) if near_threshold else np.ones(len(rows))
    probabilities = inclusion(sizes, min(number, len(rows)))
    # sequential Poisson sampling (Ohlsson 1998): a fixed number, by unequal probabilities
    order = np.argsort(np.random.default_rng(SEED).random(len(rows)) / sizes)[:number]
    drawn = [f"{probability:.6g}" for probability in probabilities[order]]
    return write(log, rows[order], drawn, output)


def doubt(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return how uncertain each label is, where scale and shift may be those of any event.

    It is the standard deviation of the label, with the mean over events by MacKay 1992.
    """
    odds = log_odds(probabilities)
    variance = SHIFT_SPREAD**2 + (SCALE_SPREAD * odds) ** 2
    expected = expit(odds / np.sqrt(1 + np.pi / 8 * variance))
    return np.asarray(np.sqrt(expected * (1 - expected)))


def inclusion(sizes: npt.NDArray[np.float64], number: int) -> npt.NDArray[np.float64]:
    """Return probabilities in proportion to `sizes`, 1 at most, whose sum is `number`."""
    low, high = 0.0, number / float(sizes.min())
    for _ in range(STEPS):
        middle = (low + high) / 2
        is_low = np.minimum(1, middle * sizes).sum() < number
        low, high = (middle, high) if is_low else (low, middle)
    return np.asarray(np.minimum(1, high * sizes))


def write(log: Log, chosen: Rows, drawn: list[str], output: Path) -> int:
    """Write predictions as a file to be labelled, and a page that labels them beside it."""
    if output.exists():
        raise InputError(f"{output} exists and may hold labels: name another with --output")
    lines = log.lines(chosen)
    texts = lines["text"].fillna("").astype(str).tolist()
    ids = lines["id"].tolist()
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for name, text, one in zip(ids, texts, drawn, strict=True):
            table.writerow([name, f"'{text}" if text.startswith(FORMULA) else text, "", one])
    tweets = [
        {"id": name, "text": text, "drawn": one}
        for name, text, one in zip(ids, texts, drawn, strict=True)
    ]
    with new_file(page_of(output)) as draft:
        page = render(
            Path(__file__).with_name("label.html.jinja"),
            tweets=tweets,
            key=f"labels {sha256_of(output)}",  # another sample, another set of labels
            file=f"{output.stem}-labelled.csv",
            unlabelled_reach=REACH_UNLABELLED,
            reach_of_one=REACH_OF_ONE_LABEL,
        )
        draft.write_text(page, encoding="utf-8")
    return len(lines)


def page_of(sample: Path) -> Path:
    """Return the path of the page that labels a sample."""
    return sample.with_suffix(".html")
