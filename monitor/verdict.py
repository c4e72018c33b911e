"""One word on a model in use: ok, look, act, or too few."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monitor.drift import Effect, Told, Word
from monitor.quality import Figure, Measured, labels_needed

MARGIN = 0.02  # of accuracy: below the reference's by more is worse
FEWEST = 200  # tweets, fewer of which estimate nothing
DROP = 0.05  # of accuracy, that a review is sized to find

Name = Literal["ok", "look", "act", "too few"]
STATUS: dict[Name, int] = {"ok": 0, "too few": 0, "look": 3, "act": 4}  # 1 and 2: no report


@dataclass(frozen=True)
class Verdict:
    """The word, why, and what to do."""

    word: Name
    reason: str
    advice: str


def decide(
    reference: float,
    tweets: int,
    estimated: Mapping[str, Figure],
    effects: Mapping[str, Effect],
    told: Mapping[str, Told],
    words: Sequence[Word],
    reviewed: Measured,
) -> Verdict:
    """Judge a model.

    A reviewed sample decides where its interval can; else an estimate or drift can ask for one.
    Readers' verdicts decide nothing: readers click on what is wrong.

    Args:
        reference: accuracy on the held-out tweets of its training.
        tweets: how many different ones it has answered.
        estimated: quality without labels.
        effects: drift of each feature.
        told: how well features, and words, tell live tweets from known ones.
        words: those that live tweets have more of.
        reviewed: accuracy on a random sample.

    """
    floor = reference - MARGIN
    beside = f"the {reference:.3f} it had on held-out tweets"
    if reviewed.tweets and reviewed.accuracy.high < floor:
        return Verdict(
            "act",
            f"{_range(reviewed.accuracy)} of the reviewed tweets are answered rightly, surely "
            f"less than {beside}, by more than {MARGIN}.",
            "Harvest the labelled tweets and train again, or go back to the model before.",
        )
    moved = [name for name, one in effects.items() if one.moved]
    drifted = [f"their {name}" for name, one in told.items() if one.drifted]
    if words and drifted:
        drifted[-1] += f" ({', '.join(word.word for word in words[:5])})"
    differ = "; ".join(
        filter(
            None,
            [
                f"live tweets differ in {', '.join(moved)}" if moved else "",
                f"{' and '.join(drifted)} tell them from known ones" if drifted else "",
            ],
        )
    )
    if reviewed.tweets and reviewed.accuracy.low >= floor:
        also = f" ({differ}: it copes)" if differ else ""
        return Verdict(
            "ok",
            f"{_range(reviewed.accuracy)} of the reviewed tweets are answered rightly, surely not "
            f"less than {beside} by more than {MARGIN}{also}.",
            "Nothing to do.",
        )
    undecided = ""
    if reviewed.tweets:
        undecided = f" A review of {reviewed.tweets}, {_range(reviewed.accuracy)}, does not decide."
    needed = labels_needed(reference - DROP, floor)
    advice = (
        f"Draw a sample and label it (python -m monitor review): {needed} labels show a drop of "
        f"{100 * DROP:.0f} points four times in five, {labels_needed(reference - 0.15, floor)} one "
        f"of 15."
    )
    if tweets < FEWEST:
        return Verdict(
            "too few",
            f"{tweets} different tweets are fewer than the {FEWEST} that estimates need."
            f"{undecided or ' Nobody has reviewed a sample.'}",
            advice,
        )
    accuracy = estimated["accuracy"]
    if accuracy.high < floor:
        return Verdict(
            "look",
            f"Estimated accuracy is {_range(accuracy)}, less than {beside}.{undecided}",
            advice,
        )
    if differ:
        return Verdict(
            "look",
            f"{differ[0].upper()}{differ[1:]}. Estimated accuracy is {_range(accuracy)} beside "
            f"{beside}; the estimate holds only as far as the words mean what they did.{undecided}",
            advice,
        )
    return Verdict(
        "ok",
        f"Live tweets are like those it was judged on, and its estimated accuracy is "
        f"{_range(accuracy)} beside {beside}.{undecided}",
        f"Nothing to do. To be sure rather than confident: {advice[0].lower()}{advice[1:]}",
    )


def _range(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
