"""One word: only labels say act, and only an interval without a loss says ok."""

import pytest

from monitor.drift import Effect, Word
from monitor.quality import Figure
from monitor.verdict import STATUS, decide

MOVED = Effect(0.4, 0.3, 0.5, True, 1.0, 2.0)
STILL = Effect(0.1, 0.0, 0.2, False, 1.0, 2.0)
OF_800 = "800 give ± 0.040, 1600 would give about ± 0.028"
WITHOUT_LABELS = "50 labels narrow it to ± 0.06, 100 labels to ± 0.04"


@pytest.mark.parametrize(
    ("low", "high", "labels", "differs", "word", "status", "advice"),
    [
        (0.60, 0.97, 0, False, "unknown", 0, WITHOUT_LABELS),
        (0.60, 0.97, 0, True, "look", 3, WITHOUT_LABELS),
        (0.60, 0.92, 0, False, "look", 3, ""),  # without labels, a loss is no reason to act
        (0.90, 0.97, 0, True, "ok", 0, ""),
        (0.60, 0.92, 50, False, "act", 4, ""),
        (0.60, 0.94, 50, False, "unknown", 0, ""),
        (0.86, 0.94, 800, True, "look", 3, OF_800),
        (0.90, 0.92, 2000, False, "ok", 0, ""),  # a loss, and it is tolerated
    ],
)
def test_the_word_and_its_reasons(
    low: float, high: float, labels: int, differs: bool, word: str, status: int, advice: str
) -> None:
    effects = {"links": MOVED if differs else STILL, "their words": MOVED if differs else STILL}
    accuracy = Figure((low + high) / 2 if labels else float("nan"), low, high)
    words = [Word("zorg", 0.5, 0.0)] if differs else []
    verdict = decide(0.94, accuracy, labels, effects, words)
    assert (verdict.word, STATUS[verdict.word]) == (word, status)
    assert f"{low:.3f} to {high:.3f}" in verdict.reason
    assert ("Live tweets differ in links, their words (zorg)." in verdict.reason) == differs
    assert advice in verdict.advice
    is_unclear = word in ("unknown", "look")
    assert ("without labels it is unknown" in verdict.reason) == (is_unclear and not labels)
