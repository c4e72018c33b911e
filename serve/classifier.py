"""Text -> P(disaster), from a locked model, with OpenVINO on the CPU."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
from tokenizers import Tokenizer

from serve import locked

BATCH = 32  # rows of one inference; more gain nothing and hold more memory
GRID = 8  # tokens; see Classifier


class Classifier:
    """A locked model, ready to answer.

    A text's probability does not depend on what is asked along with it. In int8, more padding
    changes how a value is rounded, and the answer with it by up to 0.02; so a text is padded to
    the next multiple of GRID tokens always, and shares an inference only with its equals.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Verify and load the model in `folder`.

        Args:
            folder: a locked model.
            threads: CPU threads of an inference; 0 takes one a core.

        Raises:
            serve.locked.LockedModelError: a file is missing or altered.

        """
        self.manifest = locked.verify(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / locked.TOKENIZER))
        self._pad_id: int = dict(self._tokenizer.padding or {})["pad_id"]
        self._tokenizer.no_padding()
        self._network = ov.Core().compile_model(
            folder / locked.NETWORK,
            "CPU",
            # f32 where it is not int8: else CPUs with and without bf16 would answer otherwise
            {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads},
        )

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return P(disaster) of each text: (texts,), in 0..1."""
        alike = defaultdict(list)
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        for row, ids in enumerate(encoded):
            alike[min(-(-len(ids) // GRID) * GRID, self.manifest.max_length)].append(row)
        answers = np.empty(len(texts), dtype=np.float32)
        for length, rows in alike.items():
            for start in range(0, len(rows), BATCH):
                chosen = rows[start : start + BATCH]
                padded = np.full((len(chosen), length), self._pad_id, dtype=np.int64)
                mask = np.zeros_like(padded)
                for i, row in enumerate(chosen):
                    padded[i, : len(encoded[row])] = encoded[row]
                    mask[i, : len(encoded[row])] = 1
                answers[chosen] = self._network({"input_ids": padded, "attention_mask": mask})[0]
        return answers

    def label(self, probability: float) -> locked.Label:
        """Name the class that a probability stands for."""
        return self.manifest.labels[int(probability >= self.manifest.threshold)]
