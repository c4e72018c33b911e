"""The verdict on a model in use: ok, look, act or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitor.drift import Effect, Word
from monitor.quality import Figure

MARGIN = 0.01  # of accuracy: a smaller loss raises no alarm
TOLERATED = 0.05  # of accuracy: `ok` excludes a larger loss

# Half the interval's width on unseen events, in a large log (tests/bench/estimates.py)
GAIN = "50 labels narrow it to ± 0.06, 100 labels to ± 0.04."

Name = Literal["ok", "look", "act", "unknown"]
STATUS: dict[Name, int] = {"ok": 0, "unknown": 0, "look": 3, "act": 4}  # 1 and 2: no report


@dataclass(frozen=True)
class Verdict:
    """The word, the reason, and what to do."""

    word: Name
    reason: str
    advice: str


def decide(
    reference: float,
    accuracy: Figure,
    labels: int,
    effects: Mapping[str, Effect],
    words: Sequence[Word],
) -> Verdict:
    """Return the verdict on a model.

    `act` needs reviewed tweets; drift, or an estimate without labels, leads to `look` at most.

    Args:
        reference: the model's accuracy on held-out tweets.
        accuracy: the estimated accuracy of its live answers.
        labels: the number of reviewed tweets in this estimate.
        effects: the drift of each feature, and of the tweets' words.
        words: the words that are more frequent in live tweets.

    """
    basis = f"by {labels} labels" if labels else "without labels"
    estimate = (
        f"Accuracy is {accuracy.low:.3f} to {accuracy.high:.3f} ({basis}; on held-out "
        f"tweets: {reference:.3f})"
    )
    drifted = [name for name, effect in effects.items() if effect.has_moved]
    examples = f" ({', '.join(word.word for word in words[:5])})" if words else ""
    drift = f" Live tweets differ in {', '.join(drifted)}{examples}." if drifted else ""
    if accuracy.low >= reference - TOLERATED:
        note = f"{drift} Despite this drift, the accuracy holds." if drift else ""
        return Verdict("ok", f"{estimate}: no loss of over {TOLERATED}.{note}", "Nothing to do.")
    is_lower = accuracy.high < reference - MARGIN
    if labels and is_lower:
        return Verdict(
            "act",
            f"{estimate}: lower by more than {MARGIN}.{drift}",
            "Train on these labels too (docs/event.md), or roll back to the previous model.",
        )
    word: Name = "look" if drift or is_lower else "unknown"
    advice = "Label a random sample (python -m monitor review):"
    if not labels:
        why = (
            "wide, because without labels it is unknown whether the probabilities are right for "
            "tweets unlike the training data."
        )
        return Verdict(word, f"{estimate}: {why}{drift}", f"{advice} {GAIN}")
    half = (accuracy.high - accuracy.low) / 2
    gain = f"{labels} give ± {half:.3f}, {2 * labels} would give about ± {half / np.sqrt(2):.3f}."
    why = "too wide to tell whether it is lower."
    return Verdict(word, f"{estimate}: {why}{drift}", f"{advice} {gain}")
