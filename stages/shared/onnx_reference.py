"""The reference evaluator, which defines a network's answers for all engines and CPUs.

The ONNX standard has an evaluator that computes each operator in NumPy, as the standard defines it
(https://onnx.ai/onnx/api/reference.html). With stages/shared/arithmetic.py, its answers are the
same on every CPU with AVX2. Threshold, golden answers and all figures of the locked model come from
it, and each engine must agree with it within `locked.classifier.TOLERANCE`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from scipy.special import erf

from common.progress import Progress
from locked.engines import ENGINES, Engine, Inputs, fastest

if TYPE_CHECKING:
    from stages.params import Compute

Array = npt.NDArray[Any]


class Gelu(OpRun):
    """The standard's Gelu in NumPy; that of the evaluator calls Python for each number."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            inner = np.sqrt(2 / np.pi).astype(x.dtype) * (x + np.float32(0.044715) * x**3)
            return (x * np.float32(0.5) * (1 + np.tanh(inner)),)
        return (x * np.float32(0.5) * (1 + erf(x * np.float32(0.5**0.5))),)


class GatherElements(OpRun):
    """The standard's GatherElements; that of the evaluator fails on more than 64 rows."""

    op_domain = ""

    def _run(self, data: Array, indices: Array, axis: int = 0) -> tuple[Array]:
        return (np.take_along_axis(data, indices, axis),)


def evaluator(network: Path, threads: int) -> Engine:
    """Return the reference evaluator of a network, with one batch per thread at a time."""
    reference = ReferenceEvaluator(onnx.load(network), new_ops=[Gelu, GatherElements])
    pool = ThreadPoolExecutor(threads)

    def infer(batch: Inputs) -> npt.NDArray[np.float32]:
        answers: Any = reference.run(None, dict(batch))
        return np.asarray(answers[0])

    def run(batches: Sequence[Inputs]) -> list[npt.NDArray[np.float32]]:
        answers = pool.map(infer, batches)
        return [*Progress(answers, desc="answering", total=len(batches), unit=" batches")]

    return run


def engine(compute: "Compute") -> Callable[[Path, int], Engine]:
    """Return the loader of the evaluator, or of this CPU's faster engine if not `compute.exact`."""
    return evaluator if compute.exact else ENGINES[fastest()]
