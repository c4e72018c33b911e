"""The two engines that compute the network in int8; each is the faster one on some CPUs.

Their answers differ a little between each other and between kinds of CPU. The definition of a
network's answers is the ONNX standard's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Inputs = dict[str, npt.NDArray[np.int64]]  # input_ids, attention_mask: (rows, tokens)
Engine = Callable[[Sequence[Inputs]], list[npt.NDArray[np.float32]]]  # P(disaster): (rows,) each
Load = Callable[[Path, int], Engine]  # loads a network file, for so many threads
Name = Literal["openvino", "onnxruntime"]


def fastest() -> Name:
    """Name the engine that is faster here: OpenVINO, where one instruction sums int8 products."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # no Linux, and no such CPU
        flags = ""
    return "openvino" if "_vnni" in flags else "onnxruntime"


def openvino(network: Path, threads: int) -> Engine:
    """Load a network into OpenVINO; each thread has inferences of its own."""
    import openvino as ov

    compiled = ov.Core().compile_model(
        network,
        "CPU",
        {
            # where it is not int8: else CPUs with and without bf16 would answer otherwise
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            # each of several processes would take the same cores, and leave the others idle
            "ENABLE_CPU_PINNING": False,
        },
    )
    queue = ov.AsyncInferQueue(compiled, threads)

    def collect(inference: Any, place: tuple[list[Any], int]) -> None:  # noqa: ANN401 - untyped
        answers, number = place
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
    """Load a network into ONNX Runtime; each thread has inferences of its own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it keeps the most that any inference ever took
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(threads)

    def infer(batch: Inputs) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = session.run(None, batch)[0]
        return scores

    return lambda batches: list(pool.map(infer, batches))


ENGINES: dict[Name, Load] = {"openvino": openvino, "onnxruntime": onnxruntime}
