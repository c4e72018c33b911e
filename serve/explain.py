"""How much each word of a text pushed the answer: leave one out, and see.

Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure, 2016,
https://arxiv.org/abs/1612.08220.
"""

import re
from collections.abc import Sequence

from serve.schema import ExplainAnswer, Prediction, Word

WORD = re.compile(r"\S+")


def variants(text: str, most: int) -> list[str]:
    """Return the text, no text, and the text without each of its first words in turn.

    Args:
        text: to be explained.
        most: words to leave out; those beyond the model's tokens have no part in the answer.

    """
    words = list(WORD.finditer(text))[:most]
    return [text, "", *(text[: w.start()] + text[w.end() :] for w in words)]


def explain(text: str, said: Sequence[Prediction], model: str, request_id: str) -> ExplainAnswer:
    """Say what the answers to a text's variants, in their order, tell of its words."""
    whole, nothing, *without = (prediction.probability for prediction in said)
    words = list(WORD.finditer(text))
    pushes = [whole - score for score in without] + [0.0] * (len(words) - len(without))
    return ExplainAnswer(
        label=said[0].label,
        probability=whole,
        model=model,
        id=request_id,
        baseline=nothing,
        words=[
            Word(word=w.group(), start=w.start(), push=push)
            for w, push in zip(words, pushes, strict=True)
        ],
        together=whole - nothing - sum(pushes),
    )
