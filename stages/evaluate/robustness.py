"""Tests whether answers stay if a tweet's wording changes, and change if its meaning changes.

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

TWEETS = 100  # at most in each test
SEED = 0

Chance = np.random.Generator
Change = Callable[[str, Chance], str]  # returns a changed text


def swap_letters(share: float) -> Change:
    """Return a change that swaps `share` of the letters with the next letter."""

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


def split_hashtags(text: str, _: Chance) -> str:
    """Replace hashtags by their words: #ForestFire -> Forest Fire."""
    border = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|_"
    return re.sub(r"#(\w+)", lambda tag: re.sub(border, " ", tag[1]), text)


def random_digits(text: str, chance: Chance) -> str:
    """Replace every digit outside links by a random one from 1 to 9."""

    def replace(match: re.Match[str]) -> str:
        is_link = len(match[0]) > 1
        return match[0] if is_link else str(chance.integers(1, 10))

    return re.sub(rf"{URL}|\d", replace, text)


INVARIANT: dict[str, Change] = {
    "5 % of letters swapped": swap_letters(0.05),
    "10 % of letters swapped": swap_letters(0.1),
    "upper case": lambda text, _: text.upper(),
    "lower case": lambda text, _: text.lower(),
    "a mention in front": lambda text, _: f"@someone {text}",
    "mentions dropped": lambda text, _: re.sub(MENTION, "", text),
    "a link at the end": lambda text, _: f"{text} https://t.co/a1B2c3",
    "links dropped": lambda text, _: re.sub(URL, "", text),
    "hashtags as words": split_hashtags,
    "hashtags dropped": lambda text, _: re.sub(r"#\w+", "", text),
    "an emoji at the end": lambda text, _: f"{text} \N{FACE WITH OPEN MOUTH}",
    "characters as HTML entities": lambda text, _: html.escape(text),
    "other numbers": random_digits,
}
# These words in front of a tweet that the model labels a disaster should lower P(disaster).
LOWER: dict[str, Change] = {
    "a denial": lambda text, _: f"This did not happen, it is a hoax: {text}",
    "a drill": lambda text, _: f"Only a drill, no real emergency: {text}",
    "a movie": lambda text, _: f"In the movie I watched tonight: {text}",
    "years ago": lambda text, _: f"Forty years ago today: {text}",
}


def measure_robustness(model: Classifier, texts: pd.Series, before: Scores) -> pd.DataFrame:
    """Return how the model answers changed tweets, a row for each test.

    Each test takes the first TWEETS texts that it changes; `before` has P(disaster) of all texts.
    The column `share` is the share of tweets that get another label (test "stay") or a lower
    P(disaster) (test "fall"). `low` and `high` are its 95 % Wilson interval, `difference` is the
    mean change of P(disaster).
    """
    threshold = model.manifest.threshold
    tests = []
    for test, changes in (("stay", INVARIANT), ("fall", LOWER)):
        for name, change in changes.items():
            chance, changed_texts = np.random.default_rng(SEED), dict[int, str]()
            for row, text in enumerate(texts):
                is_candidate = test == "stay" or before[row] >= threshold
                if len(changed_texts) < TWEETS and is_candidate:
                    changed_text = change(text, chance)
                    if changed_text != text:
                        changed_texts[row] = changed_text
            if changed_texts:
                tests.append((test, name, changed_texts))
    answers = iter(model.probabilities([text for *_, each in tests for text in each.values()]))
    results = []
    for test, name, changed_texts in tests:
        original = before[[*changed_texts]]
        after = np.array([next(answers) for _ in changed_texts])
        is_flipped = (after >= threshold) != (original >= threshold)
        count = int((is_flipped if test == "stay" else after < original).sum())
        low, high = wilson(count, len(changed_texts))
        results.append(
            {
                "test": test,
                "change": name,
                "tweets": len(changed_texts),
                "share": count / len(changed_texts),
                "low": low,
                "high": high,
                "difference": float((after - original).mean()),
            }
        )
    return pd.DataFrame(results)
