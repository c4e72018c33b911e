"""Draws a sample of tweets and writes it to be labelled, without the model's answers."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from common.atomic import new_file
from common.errors import InputError
from common.hashing import sha256_of
from common.page import render
from locked.classifier import log_odds
from locked.unseen import SCALE_SPREAD, SHIFT_SPREAD
from monitor.log import Log, Rows
from monitor.quality import REACH_OF_ONE_LABEL, REACH_UNLABELLED

SEED = 0
HEADER = ["id", "text", "label", "drawn"]
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # the characters that begin a spreadsheet's formula


def draw(log: Log, number: int, output: Path, near_threshold: bool = False) -> int:
    """Write a random sample of a log's distinct tweets; return its size.

    A larger sample from the same days contains the smaller one.

    Raises:
        InputError: the output exists; it may have labels.

    """
    rows = log.distinct_rows()
    sizes = compute_uncertainty(log.probabilities[rows]) if near_threshold else np.ones(len(rows))
    probabilities = compute_inclusion(sizes, min(number, len(rows)))
    # sequential Poisson sampling (Ohlsson 1998): a fixed number, with unequal probabilities
    order = np.argsort(np.random.default_rng(SEED).random(len(rows)) / sizes)[:number]
    drawn = [f"{probability:.6g}" for probability in probabilities[order]]
    return write(log, rows[order], drawn, output)


def compute_uncertainty(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each tweet's label, if the tweets are of any event.

    Scale and shift of an event are random; the mean over them is by MacKay 1992.
    """
    odds = log_odds(probabilities)
    variance = SHIFT_SPREAD**2 + (SCALE_SPREAD * odds) ** 2
    expected = expit(odds / np.sqrt(1 + np.pi / 8 * variance))
    return np.asarray(np.sqrt(expected * (1 - expected)))


def compute_inclusion(sizes: npt.NDArray[np.float64], number: int) -> npt.NDArray[np.float64]:
    """Return probabilities in proportion to `sizes`, 1 at most, whose sum is `number`."""
    if number == len(sizes):
        return np.ones(number)
    end = 1.001 * number / sizes.min()
    factor = brentq(lambda f: np.minimum(1, f * sizes).sum() - number, 0, end, xtol=1e-12)
    return np.asarray(np.minimum(1, factor * sizes))


def write(log: Log, rows: Rows, drawn: list[str], output: Path) -> int:
    """Write rows of a log as a CSV to be labelled, and a page to label them; count them."""
    if output.exists():
        raise InputError(f"{output} exists and may have labels. Choose another file with --output")
    lines = log.table.loc[rows, ["id", "text"]].fillna("").assign(drawn=drawn)
    tweets = lines.to_dict("records")
    output.parent.mkdir(parents=True, exist_ok=True)
    quotes = lines["text"].str.startswith(FORMULA).map({True: "'", False: ""})
    table = lines.assign(text=quotes + lines["text"], label="")
    with new_file(output) as draft:
        table[HEADER].to_csv(draft, index=False, lineterminator="\r\n")
    with new_file(get_page_path(output)) as draft:
        page = render(
            Path(__file__).with_name("label.html.jinja"),
            tweets=tweets,
            key=f"labels {sha256_of(output)}",  # the labels of each sample are kept apart
            file=f"{output.stem}-labelled.csv",
            unlabelled_reach=REACH_UNLABELLED,
            reach_of_one=REACH_OF_ONE_LABEL,
        )
        draft.write_text(page, encoding="utf-8")
    return len(lines)


def get_page_path(sample: Path) -> Path:
    """Return the path of the page that labels a sample."""
    return sample.with_suffix(".html")
