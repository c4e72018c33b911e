"""The data with which the monitor compares live tweets: reference.json of the locked model."""

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
VOCABULARY = 30_000  # most frequent words
HELD_OUT = 5_000  # tweets; their answers and the vocabulary take less than 1 MB
MIN_TWEETS = 2  # a known word occurs in at least so many training tweets
TYPES = {  # of the arrays
    "probabilities": np.float64,
    "labels": np.int8,
    "features": np.float64,
    "vocabulary": np.uint32,
}


@dataclass(frozen=True)
class Reference:
    """The training tweets' words, and the model's answers to tweets of the test split."""

    positive_share: float  # share of disasters in the training tweets
    probabilities: npt.NDArray[np.float64]  # (held-out tweets,), calibrated
    labels: npt.NDArray[np.int8]  # likewise: 1 is a disaster
    features: npt.NDArray[np.float64]  # (held-out tweets, FEATURES)
    vocabulary: npt.NDArray[np.uint32]  # sorted hashes, see locked.features.hashed

    @classmethod
    def of(
        cls,
        train: Iterable[str],
        positive_share: float,
        held_out: Sequence[str],
        probabilities: npt.NDArray[np.floating],
        labels: npt.NDArray[np.integer],
    ) -> "Reference":
        """Return the reference for training texts and the first HELD_OUT held-out tweets.

        `held_out` has texts, `probabilities` the calibrated answers to them, `labels` their true
        labels.
        """
        counts = Counter(word for text in train for word in set(words(text)))
        frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY]
        vocabulary = {hashed(word) for word, count in frequent if count >= MIN_TWEETS}
        values = {
            "positive_share": positive_share,
            "probabilities": probabilities[:HELD_OUT],
            "labels": labels[:HELD_OUT],
            "features": [[*features(text, vocabulary).values()] for text in held_out[:HELD_OUT]],
            "vocabulary": sorted(vocabulary),
        }
        return cls._typed(values)

    @classmethod
    def _typed(cls, values: dict[str, Any]) -> "Reference":
        arrays = {name: np.array(values[name], dtype=kind) for name, kind in TYPES.items()}
        arrays["features"] = arrays["features"].reshape(-1, len(FEATURES))
        return cls(float(values["positive_share"]), **arrays)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of reference.json."""
        arrays = {name: getattr(self, name) for name in TYPES}
        arrays["probabilities"] = self.probabilities.round(6)
        lists = {name: array.tolist() for name, array in arrays.items()}
        return {"features_named": list(FEATURES), "positive_share": self.positive_share, **lists}

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """Return the reference of a locked model.

        Raises LockedModelError if it is missing, damaged or of another version of the code.
        """
        path = folder / REFERENCE
        try:
            values = json.loads(path.read_bytes())
            if values["features_named"] != list(FEATURES):
                raise ValueError("its features differ from those of this version of the code")
            return cls._typed(values)
        except FileNotFoundError as error:
            raise LockedModelError(
                f"{path} is missing: the model was locked by a version without monitoring; "
                "`dvc repro` makes a new one"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LockedModelError(f"{path}: {error}") from error
