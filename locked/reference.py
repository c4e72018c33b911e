"""What live tweets are compared with: it travels in the locked model, as `reference.json`."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from locked.features import FEATURES, features, hashed, words
from locked.manifest import LockedModelError

REFERENCE = "reference.json"
VOCABULARY = 30_000  # words, the most frequent
HELD_OUT = 5_000  # tweets; with the vocabulary less than 1 MB
LEAST = 2  # training tweets that have a word


@dataclass(frozen=True)
class Reference:
    """The training tweets' words, and what the model said of tweets that it never saw."""

    vocabulary: npt.NDArray[np.uint32]  # sorted hashes, see locked.features.hashed
    positive_share: float  # of the training tweets
    probabilities: npt.NDArray[np.float64]  # (held-out tweets,)
    labels: npt.NDArray[np.int8]  # likewise: 1 is a disaster
    features: npt.NDArray[np.float64]  # (held-out tweets, FEATURES)

    @classmethod
    def of(
        cls,
        train: Iterable[str],
        positive_share: float,
        held_out: Sequence[str],
        probabilities: npt.NDArray[np.floating],
        labels: npt.NDArray[np.integer],
    ) -> "Reference":
        """Describe training texts and answers to held-out ones."""
        seen = Counter(word for text in train for word in set(words(text)))
        common = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY]
        vocabulary = {hashed(word) for word, count in common if count >= LEAST}
        described = [list(features(text, vocabulary).values()) for text in held_out[:HELD_OUT]]
        return cls(
            vocabulary=np.array(sorted(vocabulary), dtype=np.uint32),
            positive_share=positive_share,
            probabilities=probabilities[:HELD_OUT].astype(np.float64),
            labels=labels[:HELD_OUT].astype(np.int8),
            features=np.array(described).reshape(-1, len(FEATURES)),
        )

    def dumped(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "features_named": list(FEATURES),
            "positive_share": self.positive_share,
            "probabilities": self.probabilities.round(6).tolist(),
            "labels": self.labels.tolist(),
            "features": self.features.tolist(),
            "vocabulary": self.vocabulary.tolist(),
        }

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """Read it from a locked model.

        Raises:
            LockedModelError: the model has none, or one of another form.

        """
        path = folder / REFERENCE
        try:
            held = json.loads(path.read_bytes())
            if held["features_named"] != list(FEATURES):
                raise ValueError("it describes tweets by other features")
            return cls(
                vocabulary=np.array(held["vocabulary"], dtype=np.uint32),
                positive_share=float(held["positive_share"]),
                probabilities=np.array(held["probabilities"], dtype=np.float64),
                labels=np.array(held["labels"], dtype=np.int8),
                features=np.array(held["features"], dtype=np.float64).reshape(-1, len(FEATURES)),
            )
        except FileNotFoundError as error:
            raise LockedModelError(
                f"{path} is missing: the model is older than monitoring; `dvc repro` locks one "
                "that can be compared"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LockedModelError(f"{path}: {error}") from error
