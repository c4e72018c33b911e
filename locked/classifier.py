"""Text -> P(disaster), by a locked model on the CPU."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from locked.cpus import cpus
from locked.engines import ENGINES, Inputs, Load, Name, fastest
from locked.labels import Label, label
from locked.manifest import MANIFEST, NETWORK, TOKENIZER, Calibration, LockedModelError, verify

ROWS = (16, 4, 1)  # possible numbers of rows in one inference; see Network
GRID = 16  # tokens: padded lengths are multiples of it; see Network
TOKENS = 512  # at most in one inference, to limit memory
TOLERANCE = 0.05  # of P(disaster) before calibration: engines and kinds of CPU round differently
SURE = 1e-6  # log-odds are computed of probabilities from SURE to 1 - SURE


class Network:
    """A loaded network with its tokenizer.

    The answer to a text does not depend on the other texts of a call. In int8, more padding
    changes the rounding, and P(disaster) by up to 0.02; so each text is padded to the next multiple
    of GRID tokens, and shares an inference only with texts of the same padded length.

    OpenVINO compiles each new input shape, which takes ten times as long as the inference, and
    never frees the memory. So there are few shapes: an inference has one of ROWS rows, and at most
    TOKENS tokens.
    """

    def __init__(
        self, folder: Path, max_length: int, threads: int = 0, engine: Name | Load | None = None
    ) -> None:
        """Load network.onnx and tokenizer.json in `folder`; longer texts are cut to `max_length`.

        Each of `threads` threads runs inferences of its own; 0 takes one thread per CPU. The
        default `engine` is the faster one on this CPU.

        Raises LockedModelError if the engine cannot load the network.
        """
        self.folder = folder
        self.max_length = max_length
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._pad_id: int = dict(self._tokenizer.padding or {})["pad_id"]
        self._tokenizer.no_padding()
        load = engine if callable(engine) else ENGINES[engine or fastest()]
        try:
            self._run = load(folder / NETWORK, threads or cpus())
        except Exception as error:  # each engine has exceptions of its own
            reason = str(error).strip().splitlines()[-1]
            raise LockedModelError(f"{folder / NETWORK} cannot be loaded: {reason}") from error

    def uncalibrated(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return P(disaster) of each text before calibration: (texts,), in 0..1.

        Of a network whose output has columns, return them: (texts, columns).
        """
        batches = list(self._batches(texts))
        outputs = self._run([inputs for _, inputs in batches])
        answers = np.empty((len(texts), *outputs[0].shape[1:]) if outputs else 0, np.float32)
        for (rows, _), output in zip(batches, outputs, strict=True):
            answers[rows] = output[: len(rows)]
        return answers

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Inputs]]:
        """Yield the rows of `texts` that share an inference, and the inputs of that inference."""
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        by_length = defaultdict(list)
        for row, ids in enumerate(encoded):
            by_length[min(-(-len(ids) // GRID) * GRID, self.max_length)].append(row)
        for length, rows in by_length.items():
            for start, end, size in split_rows(len(rows), TOKENS // length):
                padded = np.full((size, length), self._pad_id, dtype=np.int64)
                mask = np.zeros_like(padded)
                mask[:, 0] = 1  # a row without a text must attend to one token
                for i, row in enumerate(rows[start:end]):
                    padded[i, : len(encoded[row])] = encoded[row]
                    mask[i, : len(encoded[row])] = 1
                yield rows[start:end], {"input_ids": padded, "attention_mask": mask}


class Classifier(Network):
    """A verified and loaded locked model."""

    def __init__(self, folder: Path, threads: int = 0, engine: Name | Load | None = None) -> None:
        """Verify and load the model in `folder`; the other arguments are those of Network.

        Raises LockedModelError if a file is missing or altered, or the network cannot be loaded.
        """
        self.manifest = verify(folder)
        super().__init__(folder, self.manifest.max_length, threads, engine)

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the calibrated P(disaster) of each text: (texts,), in 0..1."""
        return calibrate(self.uncalibrated(texts), self.manifest.calibration)

    def check(self) -> None:
        """Compare the answers to the golden texts with those in the manifest.

        Raises LockedModelError if an answer before calibration differs by more than TOLERANCE.
        """
        golden = self.manifest.golden
        scale, shift = self.manifest.calibration.scale, self.manifest.calibration.shift
        answers = self.uncalibrated([example.text for example in golden])
        inverse = Calibration(scale=1 / scale, shift=-shift / scale)
        locked = calibrate(np.array([example.probability for example in golden]), inverse)
        for example, probability, expected in zip(golden, answers, locked, strict=True):
            if not abs(probability - expected) <= TOLERANCE:
                raise LockedModelError(
                    f"{self.folder / MANIFEST}: golden: {example.text!r} gives "
                    f"{probability:.4f} instead of {expected:.4f}, before calibration"
                )

    def label(self, probability: float) -> Label:
        """Return the label for a probability."""
        return label(probability, self.manifest.threshold)


def calibrate(
    probabilities: npt.NDArray[np.floating], calibration: Calibration
) -> npt.NDArray[np.float32]:
    """Return a network's probabilities after calibration: same shape, same ranking."""
    calibrated = calibration.scale * log_odds(probabilities) + calibration.shift
    return (1 / (1 + np.exp(-calibrated))).astype(np.float32)


def log_odds(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return log(P / (1 - P)), finite even at 0 and 1: the same shape."""
    p = np.clip(probabilities.astype(np.float64), SURE, 1 - SURE)
    return np.log(p / (1 - p))


def split_rows(rows: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, size) of each inference; `size` is one of ROWS, at most `limit` or 1.

    Up to a quarter of an inference may stay empty, which costs less than another inference.
    """
    start = 0
    while start < rows:
        rest = rows - start
        size = next(size for size in ROWS if size == 1 or (size <= limit and rest >= 0.75 * size))
        yield start, min(start + size, rows), size
        start += size
