"""Tests whether answers stay when a tweet's wording changes, and change when its meaning does.

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


def hashtags_as_words(text: str, _: Chance) -> str:
    """#ForestFire -> Forest Fire."""
    border = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|_"
    return re.sub(r"#(\w+)", lambda tag: re.sub(border, " ", tag[1]), text)


def other_digits(text: str, chance: Chance) -> str:
    """Replace every number by another one of the same length; links stay."""
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
    "hashtags as words": hashtags_as_words,
    "hashtags dropped": lambda text, _: re.sub(r"#\w+", "", text),
    "an emoji at the end": lambda text, _: f"{text} \N{FACE WITH OPEN MOUTH}",
    "characters as HTML entities": lambda text, _: html.escape(text),
    "other numbers": other_digits,
}
# Of tweets that are labelled disasters: these words in front should make that less likely.
LOWER: dict[str, Change] = {
    "a denial": lambda text, _: f"This did not happen, it is a hoax: {text}",
    "a drill": lambda text, _: f"Only a drill, no real emergency: {text}",
    "a movie": lambda text, _: f"In the movie I watched tonight: {text}",
    "years ago": lambda text, _: f"Forty years ago today: {text}",
}


def robustness(model: Classifier, texts: pd.Series, before: Scores) -> pd.DataFrame:
    """Return how the model answers changed tweets, a row for each test.

    Each test takes the first TWEETS texts that it changes; `before` has P(disaster) of all texts.
    `share` is of tweets with another label, if the answer should "stay", or with a lower P, if it
    should "fall"; `low` and `high` are its 95 % Wilson interval, `difference` the mean change of P.
    """
    threshold = model.manifest.threshold
    tests = []
    for test, changes in (("stay", INVARIANT), ("fall", LOWER)):
        for name, change in changes.items():
            chance, changed = np.random.default_rng(SEED), dict[int, str]()
            for row, text in enumerate(texts):
                is_candidate = test == "stay" or before[row] >= threshold
                if len(changed) < TWEETS and is_candidate and (c := change(text, chance)) != text:
                    changed[row] = c
            if changed:
                tests.append((test, name, changed))
    answers = iter(model.probabilities([text for *_, each in tests for text in each.values()]))
    results = []
    for test, name, changed in tests:
        first, after = before[[*changed]], np.array([next(answers) for _ in changed])
        is_flipped = (after >= threshold) != (first >= threshold)
        count = int((is_flipped if test == "stay" else after < first).sum())
        low, high = wilson(count, len(changed))
        results.append(
            {
                "test": test,
                "change": name,
                "tweets": len(changed),
                "share": count / len(changed),
                "low": low,
                "high": high,
                "difference": float((after - first).mean()),
            }
        )
    return pd.DataFrame(results)
