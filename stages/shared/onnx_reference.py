"""What a locked network answers by definition, apart from any engine and any kind of CPU.

The ONNX standard comes with an evaluator that computes each operator as the standard says, in
NumPy (https://onnx.ai/onnx/api/reference.html). With arithmetic held still (stages/exact.py), its
answers are the same everywhere: threshold, golden answers and all locked figures are theirs, and
an engine is held to them within `locked.classifier.TOLERANCE`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from scipy.special import erf

from common.progress import Progress
from locked.classifier import Classifier
from locked.engines import Engine, Inputs
from stages.shared.params import Compute

Array = npt.NDArray[Any]


class Gelu(OpRun):
    """As the standard defines it; the evaluator's own asks Python for each number."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            inner = np.sqrt(2 / np.pi).astype(x.dtype) * (x + np.float32(0.044715) * x**3)
            return (x * np.float32(0.5) * (1 + np.tanh(inner)),)
        return (x * np.float32(0.5) * (1 + erf(x * np.float32(0.5**0.5))),)


class GatherElements(OpRun):
    """The evaluator's own fails on more than 64 rows."""

    op_domain = ""

    def _run(self, data: Array, indices: Array, axis: int = 0) -> tuple[Array]:
        return (np.take_along_axis(data, indices, axis),)


def evaluator(network: Path, threads: int) -> Engine:
    """Load a network into ONNX's own evaluator; each thread has batches of its own."""
    own = ReferenceEvaluator(onnx.load(network), new_ops=[Gelu, GatherElements])
    pool = ThreadPoolExecutor(threads)

    def infer(batch: Inputs) -> npt.NDArray[np.float32]:
        answers: Any = own.run(None, dict(batch))
        return np.asarray(answers[0])

    def run(batches: Sequence[Inputs]) -> list[npt.NDArray[np.float32]]:
        done = pool.map(infer, batches)
        return [*Progress(done, desc="answering", total=len(batches), unit=" batches")]

    return run


def classifier(folder: Path, compute: Compute) -> Classifier:
    """Return a locked model that answers as it is defined, or by an engine where that may differ.

    Raises:
        locked.manifest.LockedModelError: a file is missing or altered.

    """
    return Classifier(folder, compute.threads, evaluator if compute.exact else None)
