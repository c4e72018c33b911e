"""The two engines that compute the int8 network; which one is faster depends on the CPU.

Their answers differ a little, and depend on the kind of CPU. A network's answers are defined by the
ONNX standard (stages/shared/onnx_reference.py).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Inputs = dict[str, npt.NDArray[np.int64]]  # input_ids, attention_mask: (rows, tokens)
Engine = Callable[[Sequence[Inputs]], list[npt.NDArray[np.float32]]]  # P(disaster): (rows,) each
Load = Callable[[Path, int], Engine]  # takes a network file and a number of threads
Name = Literal["openvino", "onnxruntime"]


def fastest() -> Name:
    """Return the faster engine for this CPU: OpenVINO if it has VNNI, which sums int8 products."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        flags = ""
    return "openvino" if "_vnni" in flags else "onnxruntime"


def openvino(network: Path, threads: int) -> Engine:
    """Load a network into OpenVINO; each thread runs inferences of its own."""
    import openvino as ov

    compiled = ov.Core().compile_model(
        network,
        "CPU",
        {
            # for operators that are not int8: in bf16, answers would depend on the CPU
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            # pinning would put several processes on the same cores and leave others idle
            "ENABLE_CPU_PINNING": False,
        },
    )
    queue = ov.AsyncInferQueue(compiled, threads)

    def collect(inference: Any, target: tuple[list[Any], int]) -> None:  # noqa: ANN401 - untyped
        answers, number = target
        answers[number] = inference.get_output_tensor().data.copy()

    queue.set_callback(collect)

    def run(batches: Sequence[Inputs]) -> list[npt.NDArray[np.float32]]:
        answers: list[Any] = [None] * len(batches)
        for number, batch in enumerate(batches):
            queue.start_async(batch, (answers, number))
        queue.wait_all()
        return answers

    return run


def onnxruntime(network: Path, threads: int) -> Engine:
    """Load a network into ONNX Runtime; each thread runs inferences of its own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # an arena never frees memory
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(threads)

    def infer(batch: Inputs) -> npt.NDArray[np.float32]:
        probabilities: npt.NDArray[np.float32] = session.run(None, batch)[0]
        return probabilities

    return lambda batches: list(pool.map(infer, batches))


ENGINES: dict[Name, Load] = {"openvino": openvino, "onnxruntime": onnxruntime}
