"""A sample for labelling, as a CSV and as a page, without the model's answers."""

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
    if number == len(sizes):
        return np.ones(number)
    most = 1.001 * number / sizes.min()
    factor = brentq(lambda by: np.minimum(1, by * sizes).sum() - number, 0, most, xtol=1e-12)
    return np.asarray(np.minimum(1, factor * sizes))


def write(log: Log, chosen: Rows, drawn: list[str], output: Path) -> int:
    """Write predictions as a file to be labelled, and a page that labels them beside it."""
    if output.exists():
        raise InputError(f"{output} exists and may hold labels: name another with --output")
    lines = log.table.loc[chosen, ["id", "text"]].fillna("").assign(drawn=drawn)
    tweets = lines.to_dict("records")
    output.parent.mkdir(parents=True, exist_ok=True)
    marks = lines["text"].str.startswith(FORMULA).map({True: "'", False: ""})
    table = lines.assign(text=marks + lines["text"], label="")
    with new_file(output) as draft:
        table[HEADER].to_csv(draft, index=False, lineterminator="\r\n")
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
