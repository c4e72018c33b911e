"""How much each word of a text pushed the answer: the answer changes when the word is left out.

Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure, 2016,
https://arxiv.org/abs/1612.08220.
"""

import re
from collections.abc import Sequence

from serve.schema import ExplainAnswer, Word
from serve.worker import Prediction

WORD = re.compile(r"\S+")


def variants(text: str, most: int) -> list[str]:
    """Return the text, no text, and the text without each of its first words in turn.

    Args:
        text: a tweet.
        most: words to leave out; the model does not read words beyond its tokens.

    """
    words = list(WORD.finditer(text))[:most]
    return [text, "", *(text[: w.start()] + text[w.end() :] for w in words)]


def explain(
    text: str, predictions: Sequence[Prediction], model: str, answer_id: str
) -> ExplainAnswer:
    """Return the pushes of a text's words, from the predictions for its variants in their order."""
    whole, nothing, *without = (prediction.probability for prediction in predictions)
    words = list(WORD.finditer(text))
    pushes = [whole - probability for probability in without]
    pushes += [0.0] * (len(words) - len(without))
    return ExplainAnswer(
        label=predictions[0].label,
        probability=whole,
        model=model,
        id=answer_id,
        baseline=nothing,
        words=[
            Word(word=w.group(), start=w.start(), push=push)
            for w, push in zip(words, pushes, strict=True)
        ],
        together=whole - nothing - sum(pushes),
    )
