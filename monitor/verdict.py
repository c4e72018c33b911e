"""One word on a model in use: ok, look, act, or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitor.drift import Effect, Word
from monitor.quality import Figure, reach

MARGIN = 0.01  # of accuracy: the least loss that is worth an alarm
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

    Only reviewed tweets can say `act`. Drift, or an estimate without labels, can ask for a look.

    Args:
        reference: accuracy on the held-out tweets of its training.
        accuracy: of its live answers.
        labels: how many reviewed tweets that estimate rests on.
        effects: drift of each feature, and of the tweets' words.
        words: those that live tweets have more of.

    """
    by = f"by {labels} labels" if labels else "without labels"
    estimate = (
        f"Accuracy is {accuracy.low:.3f} to {accuracy.high:.3f} ({by}; held-out tweets of the "
        f"training: {reference:.3f})"
    )
    moved = [name for name, effect in effects.items() if effect.moved]
    named = f" ({', '.join(word.word for word in words[:5])})" if words else ""
    drift = f" Live tweets differ in {', '.join(moved)}{named}." if moved else ""
    if accuracy.low >= reference - TOLERATED:
        also = f"{drift} The model copes." if drift else ""
        return Verdict("ok", f"{estimate}: no loss of over {TOLERATED}.{also}", "Nothing to do.")
    is_lower = accuracy.high < reference - MARGIN
    if labels and is_lower:
        return Verdict(
            "act",
            f"{estimate}: lower by more than {MARGIN}.{drift}",
            "Adapt the model to these tweets by the labels (docs/event.md), train again, or go "
            "back to the previous model.",
        )
    advice = f"Label a random sample (python -m monitor review): {narrowing(accuracy, labels)}"
    word: Name = "look" if drift or is_lower else "unknown"
    return Verdict(word, f"{estimate}: {doubt(labels)}{drift}", advice)


def doubt(labels: int) -> str:
    """Say why an interval is wide."""
    if labels:
        return "too wide to tell whether it is lower."
    return (
        "wide, because nobody can know without labels how far the probabilities hold for tweets "
        "that the training data did not show."
    )


def narrowing(accuracy: Figure, labels: int) -> str:
    """Say how much more labels would narrow the interval of accuracy."""
    if not labels:
        return f"50 labels narrow it to ± {reach(50):.2f}, 100 labels to ± {reach(100):.2f}."
    half = (accuracy.high - accuracy.low) / 2
    return (
        f"{labels} labels give ± {half:.3f}, {2 * labels} would give about "
        f"± {half / np.sqrt(2):.3f}."
    )
