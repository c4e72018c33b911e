"""Draws a sample of tweets and writes it to be labelled, without the model's answers."""

from pathlib import Path

import numpy as np

from common.atomic import new_file
from common.errors import InputError
from common.hashing import sha256_of
from common.page import render
from monitor.exports import LABEL
from monitor.log import Log

SEED = 0
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # the characters that begin a spreadsheet's formula


def draw(log: Log, number: int, output: Path) -> int:
    """Write a random sample of a log's distinct tweets, and a page to label it; return its size.

    A larger sample from the same days contains the smaller one.

    Raises:
        InputError: the output exists; it may have labels.

    """
    if output.exists():
        raise InputError(f"{output} exists and may have labels. Choose another file with --output")
    order = np.random.default_rng(SEED).permutation(len(log.distinct))[:number]
    sample = log.distinct[["id", "text"]].iloc[order].fillna("")
    quotes = sample["text"].str.startswith(FORMULA).map({True: "'", False: ""})
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft:
        table = sample.assign(text=quotes + sample["text"]).assign(**{LABEL: ""})
        table.to_csv(draft, index=False, lineterminator="\r\n")
    with new_file(get_page_path(output)) as draft:
        page = render(
            Path(__file__).with_name("label.html.jinja"),
            tweets=sample.to_dict("records"),
            key=f"labels {sha256_of(output)}",  # the labels of each sample are kept apart
            file=f"{output.stem}-labelled.csv",
        )
        draft.write_text(page, encoding="utf-8")
    return len(sample)


def get_page_path(sample: Path) -> Path:
    """Return the path of the page that labels a sample."""
    return sample.with_suffix(".html")
