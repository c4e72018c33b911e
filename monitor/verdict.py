"""One word on a model in use: ok, look, act, or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monitor.drift import Effect, Told, Word
from monitor.quality import Figure, reach

MARGIN = 0.01  # of accuracy: the least loss that is worth an alarm
TOLERATED = 0.05  # of accuracy: `ok` excludes a larger loss
ENOUGH = 200  # labels that mostly decide

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
    told: Mapping[str, Told],
    words: Sequence[Word],
) -> Verdict:
    """Return the verdict on a model.

    Only reviewed tweets can say `act`. Drift, or an estimate without labels, can ask for a look.

    Args:
        reference: accuracy on the held-out tweets of its training.
        accuracy: of its live answers.
        labels: how many reviewed tweets that estimate rests on.
        effects: drift of each feature.
        told: how well features, and words, tell live tweets from known ones.
        words: those that live tweets have more of.

    """
    by = f"by {labels} labels" if labels else "without labels"
    estimate = (
        f"Accuracy is {accuracy.low:.3f} to {accuracy.high:.3f} ({by}; held-out tweets of the "
        f"training: {reference:.3f})"
    )
    differ = _differences(effects, told, words)
    if accuracy.low >= reference - TOLERATED:
        also = f" {differ} The model copes." if differ else ""
        return Verdict("ok", f"{estimate}: no loss of over {TOLERATED}.{also}", "Nothing to do.")
    is_lower = accuracy.high < reference - MARGIN
    if labels and is_lower:
        return Verdict(
            "act",
            f"{estimate}: lower by more than {MARGIN}. {differ}".strip(),
            "Adapt the model to these tweets by the labels (docs/event.md), train again, or go "
            "back to the previous model.",
        )
    advice = "Label a random sample (python -m monitor review)" + narrowing(labels)
    word: Name = "look" if differ or is_lower else "unknown"
    return Verdict(word, f"{estimate}: {doubt(labels)} {differ}".strip(), advice)


def doubt(labels: int) -> str:
    """Say why an interval is wide."""
    if labels:
        return "too wide to tell whether it is lower."
    return (
        "wide, because nobody can know without labels how far the probabilities hold for tweets "
        "that the training data did not show."
    )


def narrowing(labels: int) -> str:
    """Say how many labels narrow the interval to what: the end of a sentence."""
    steps = [number for number in (50, 100, ENOUGH, 500, 1000) if number > labels][:2]
    if not steps:
        return "."
    reaches = (f"{number} labels narrow it to ± {reach(number):.2f}" for number in steps)
    return f": {', '.join(reaches)}."


def _differences(
    effects: Mapping[str, Effect], told: Mapping[str, Told], words: Sequence[Word]
) -> str:
    """Say in what live tweets differ from known ones; "" where they do not."""
    moved = [name for name, effect in effects.items() if effect.moved]
    drifted = [name for name, one in told.items() if one.drifted]
    named = f" ({', '.join(word.word for word in words[:5])})" if "words" in drifted else ""
    differences = [*moved, *(f"their {name}" for name in drifted)]
    return f"Live tweets differ in {', '.join(differences)}{named}." if differences else ""
