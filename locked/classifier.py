"""Text -> P(disaster), from a locked model, on the CPU."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from locked.cpus import cpus
from locked.engines import ENGINES, Engine, Inputs, Name, fastest
from locked.labels import Label, label
from locked.manifest import MANIFEST, NETWORK, TOKENIZER, Calibration, LockedModelError, verify

ROWS = (16, 4, 1)  # of one inference; see Classifier
GRID = 16  # tokens; see Classifier
TOKENS = 512  # of one inference, at most: more of them take more memory
TOLERANCE = 0.05  # of a network's answer: engines and kinds of CPU round each in their way
SURE = 1e-6  # so near to 0 and 1 can a network's answer still be told from them


class Classifier:
    """A locked model, ready to answer.

    A text's probability does not depend on what is asked along with it. In int8, more padding
    changes how a value is rounded, and the answer with it by up to 0.02; so a text is padded to
    the next multiple of GRID tokens always, and shares an inference only with its equals.

    OpenVINO prepares anew for each new shape of its input, which takes ten times as long as the
    inference and memory that it keeps; so there are few shapes: inferences have one of ROWS rows,
    and no more than TOKENS tokens.
    """

    def __init__(
        self,
        folder: Path,
        threads: int = 0,
        engine: Name | Callable[[Path, int], Engine] | None = None,
    ) -> None:
        """Verify and load the model in `folder`.

        Args:
            folder: a locked model.
            threads: CPU threads, each with inferences of its own; 0 takes one a core.
            engine: what computes it; None takes the one that is faster here.

        Raises:
            locked.manifest.LockedModelError: a file is missing, altered, or no network.

        """
        self.folder = folder
        self.manifest = verify(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._pad_id: int = dict(self._tokenizer.padding or {})["pad_id"]
        self._tokenizer.no_padding()
        load = engine if callable(engine) else ENGINES[engine or fastest()]
        try:
            self._run = load(folder / NETWORK, threads or cpus())
        except Exception as error:  # each engine has kinds of its own
            reason = str(error).strip().splitlines()[-1]
            raise LockedModelError(f"{folder / NETWORK} cannot be loaded: {reason}") from error

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return P(disaster) of each text: (texts,), in 0..1."""
        return calibrate(self.uncalibrated(texts), self.manifest.calibration)

    def uncalibrated(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return what the network itself says of each text: (texts,), in 0..1."""
        places, batches = [], []
        for rows, batch in self._batches(texts):
            places.append(rows)
            batches.append(batch)
        answers = np.empty(len(texts), dtype=np.float32)
        for rows, scores in zip(places, self._run(batches), strict=True):
            answers[rows] = scores[: len(rows)]
        return answers

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Inputs]]:
        """Yield the rows of `texts` that share an inference, and its inputs."""
        alike = defaultdict(list)
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        for row, ids in enumerate(encoded):
            alike[min(-(-len(ids) // GRID) * GRID, self.manifest.max_length)].append(row)
        for length, rows in alike.items():
            for start, end, size in shares(len(rows), TOKENS // length):
                chosen = rows[start:end]
                padded = np.full((size, length), self._pad_id, dtype=np.int64)
                mask = np.zeros_like(padded)
                mask[:, 0] = 1  # rows that nobody asked for attend to something too
                for i, row in enumerate(chosen):
                    padded[i, : len(encoded[row])] = encoded[row]
                    mask[i, : len(encoded[row])] = 1
                yield chosen, {"input_ids": padded, "attention_mask": mask}

    def check(self) -> None:
        """Ask the manifest's golden examples.

        Raises:
            LockedModelError: an answer is not what it was when the model was locked.

        """
        golden, by = self.manifest.golden, self.manifest.calibration
        said = self.uncalibrated([example.text for example in golden])
        back = Calibration(scale=1 / by.scale, shift=-by.shift / by.scale)
        locked = calibrate(np.array([example.probability for example in golden]), back)
        for example, probability, expected in zip(golden, said, locked, strict=True):
            if not abs(probability - expected) <= TOLERANCE:
                raise LockedModelError(
                    f"{self.folder / MANIFEST}: golden: {example.text!r} gives "
                    f"{probability:.4f} instead of {expected:.4f}, before calibration"
                )

    def label(self, probability: float) -> Label:
        """Name the class that a probability stands for."""
        return label(probability, self.manifest.threshold)


def calibrate(
    probabilities: npt.NDArray[np.floating], calibration: Calibration
) -> npt.NDArray[np.float32]:
    """Return what a network's answers stand for: the same shape, in the same order of size."""
    odds = calibration.scale * log_odds(probabilities) + calibration.shift
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def log_odds(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the logarithm of P to 1 - P, finite at 0 and 1 too: the same shape."""
    p = np.clip(probabilities.astype(np.float64), SURE, 1 - SURE)
    return np.log(p / (1 - p))


def shares(rows: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Share out rows over inferences: (start, end, size), where size is one of ROWS, up to `most`.

    A size is not filled where that costs less than another inference: by a quarter at most.
    """
    start = 0
    while start < rows:
        left = rows - start
        size = next(size for size in ROWS if size == 1 or (size <= most and left >= 0.75 * size))
        yield start, min(start + size, rows), size
        start += size
