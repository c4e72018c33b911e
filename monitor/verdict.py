"""The verdict on a model in use: ok, look, act or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitor.drift import Effect, Word
from monitor.quality import Figure, compute_reach

MARGIN = 0.01  # of accuracy: a smaller loss raises no alarm
TOLERATED = 0.05  # of accuracy: `ok` excludes a larger loss

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
            "Adapt the model with these labels (docs/event.md), train again, or roll back to the "
            "previous model.",
        )
    advice = f"Label a random sample (python -m monitor review): {explain_gain(accuracy, labels)}"
    word: Name = "look" if drift or is_lower else "unknown"
    return Verdict(word, f"{estimate}: {explain_width(labels)}{drift}", advice)


def explain_width(labels: int) -> str:
    """Return why the interval of accuracy is wide."""
    if labels:
        return "too wide to tell whether it is lower."
    return (
        "wide, because without labels it is unknown whether the probabilities are right for tweets "
        "unlike the training data."
    )


def explain_gain(accuracy: Figure, labels: int) -> str:
    """Return how much more labels would narrow the interval of accuracy."""
    if not labels:
        with_50, with_100 = compute_reach(50), compute_reach(100)
        return f"50 labels narrow it to ± {with_50:.2f}, 100 labels to ± {with_100:.2f}."
    half = (accuracy.high - accuracy.low) / 2
    return (
        f"{labels} labels give ± {half:.3f}, {2 * labels} would give about "
        f"± {half / np.sqrt(2):.3f}."
    )
