"""Answers should stay when a tweet changes in ways that do not matter, and move when they do.

Invariance and directional tests after CheckList (Ribeiro et al. 2020,
https://aclanthology.org/2020.acl-main.442/), on tweets of the test split.
"""

import html
import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from locked.classifier import Classifier
from locked.text import MENTION, URL
from stages.evaluate.metrics import Scores, wilson

TWEETS = 100  # at most, of each test
SEED = 0

Chance = np.random.Generator
Change = Callable[[str, Chance], str]


def typos(share: float) -> Change:
    """Return a change that swaps this share of the letters with the next one."""

    def change(text: str, chance: Chance) -> str:
        letters, position = list(text), 0
        while position < len(letters) - 1:
            pair = letters[position] + letters[position + 1]
            if pair.isalpha() and chance.random() < share:
                letters[position : position + 2] = reversed(pair)
                position += 1  # no letter travels further
            position += 1
        return "".join(letters)

    return change


def apart(text: str, _: Chance) -> str:
    """#ForestFire -> Forest Fire."""
    split = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|_"
    return re.sub(r"#(\w+)", lambda tag: re.sub(split, " ", tag[1]), text)


def other_digits(text: str, chance: Chance) -> str:
    """Give every number another one of the same length; links stay."""
    return re.sub(
        rf"{URL}|\d", lambda m: m[0] if len(m[0]) > 1 else str(chance.integers(1, 10)), text
    )


INVARIANT: dict[str, Change] = {
    "5 % of letters swapped": typos(0.05),
    "10 % of letters swapped": typos(0.1),
    "upper case": lambda text, _: text.upper(),
    "lower case": lambda text, _: text.lower(),
    "a mention in front": lambda text, _: f"@someone {text}",
    "mentions dropped": lambda text, _: re.sub(MENTION, "", text),
    "a link at the end": lambda text, _: f"{text} https://t.co/a1B2c3",
    "links dropped": lambda text, _: re.sub(URL, "", text),
    "hashtags as words": apart,
    "hashtags dropped": lambda text, _: re.sub(r"#\w+", "", text),
    "an emoji at the end": lambda text, _: f"{text} \N{FACE WITH OPEN MOUTH}",
    "characters as HTML entities": lambda text, _: html.escape(text),
    "other numbers": other_digits,
}
# Of tweets that are called disasters: the words put before them should make that less likely.
LOWER: dict[str, Change] = {
    "a denial": lambda text, _: f"This did not happen, it is a hoax: {text}",
    "a drill": lambda text, _: f"Only a drill, no real emergency: {text}",
    "a movie": lambda text, _: f"In the movie I watched tonight: {text}",
    "years ago": lambda text, _: f"Forty years ago today: {text}",
}


def robustness(model: Classifier, texts: pd.Series, before: Scores) -> pd.DataFrame:
    """Ask the model about changed tweets.

    Args:
        model: the locked model.
        texts: tweets; of each test, the first TWEETS that it changes are asked about.
        before: P(disaster) of each of them.

    Returns:
        A row for each test: `test` (the answer should "stay", or P(disaster) "fall"), `change`,
        `tweets`, `share` of them with another label ("stay") or a lower P ("fall") and its 95 %
        Wilson interval in `low` and `high`, and the mean `difference` of P.

    """
    disasters = before >= model.manifest.threshold
    tests = [("stay", name, change, np.ones_like(disasters)) for name, change in INVARIANT.items()]
    tests += [("fall", name, change, disasters) for name, change in LOWER.items()]
    asked: list[str] = []
    rows_of: list[list[int]] = []
    for _, _, change, chosen in tests:
        chance = np.random.default_rng(SEED)
        rows: list[int] = []
        changed: list[str] = []
        for row, text in enumerate(texts):
            if len(rows) < TWEETS and chosen[row] and (other := change(text, chance)) != text:
                rows.append(row)
                changed.append(other)
        asked += changed
        rows_of.append(rows)
    answers = model.probabilities(asked)
    results, start = [], 0
    for (test, name, _, _), rows in zip(tests, rows_of, strict=True):
        after, was = answers[start : start + len(rows)], before[rows]
        start += len(rows)
        if not rows:
            continue
        flipped = (after >= model.manifest.threshold) != (was >= model.manifest.threshold)
        count = int((flipped if test == "stay" else after < was).sum())
        low, high = wilson(count, len(rows))
        results.append(
            {
                "test": test,
                "change": name,
                "tweets": len(rows),
                "share": count / len(rows),
                "low": low,
                "high": high,
                "difference": float((after - was).mean()),
            }
        )
    return pd.DataFrame(results)
