"""Reads and replaces the last layer of a network in ONNX, and adds its input as an output.

A network that `export` wrote ends with a quantised linear layer to two logits and a softmax. The
input of this layer is a vector that describes a tweet; another layer on the same vectors gives
another classifier without further training of the network.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from locked.classifier import Network
from locked.manifest import NETWORK
from stages.shared import onnx_reference

if TYPE_CHECKING:
    from stages.params import Compute


@dataclass(frozen=True)
class LastLayer:
    """The log-odds of a disaster are vector @ weight + bias."""

    vector: str  # name of the tensor of vectors: (rows, units)
    weight: npt.NDArray[np.float64]  # (units,)
    bias: float


def last_layer(model: ModelProto) -> LastLayer:
    """Return the last layer of a network that `export` wrote, dequantised."""
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    node = producers[model.graph.output[0].name]
    while node.op_type != "Softmax":
        node = producers[node.input[0]]
    add = producers[node.input[0]]
    bias = next(constants[name] for name in add.input if name in constants)
    product = producers[next(name for name in add.input if name in producers)]
    integers, step, _ = (constants[name] for name in producers[product.input[1]].input)
    node, factor = producers[product.input[0]], np.ones(1)
    while node.op_type in {"DequantizeLinear", "QuantizeLinear", "Mul"}:
        vector = node.input[0]
        if node.op_type == "Mul":
            factor = constants[node.input[1]].astype(np.float64)
            break
        node = producers[vector]
    logits = integers.astype(np.float64) * step
    weight = (logits[:, 1] - logits[:, 0]) * factor
    return LastLayer(vector, weight, float(bias[1]) - float(bias[0]))


def vector_network(folder: Path, max_length: int, compute: "Compute") -> Network:
    """Load the network in `folder` so that its output is P(disaster) and the vector of each text.

    `uncalibrated` of the returned network gives (texts, 1 + units).
    """
    with tempfile.TemporaryDirectory() as draft:
        path = Path(draft) / NETWORK
        onnx.save(_add_vectors(onnx.load(folder / NETWORK)), path)
        load = onnx_reference.engine(compute)
        return Network(folder, max_length, compute.threads, lambda _, threads: load(path, threads))


def _add_vectors(model: ModelProto) -> ModelProto:
    """Return the network with P(disaster) and the vectors as one output: (rows, 1 + units)."""
    answer = model.graph.output[0].name
    nodes = [
        helper.make_node("Unsqueeze", [answer, "second_axis"], ["answer_column"]),
        helper.make_node("Concat", ["answer_column", last_layer(model).vector], ["both"], axis=1),
    ]
    return _rebuild(model, [*model.graph.node], nodes, {}, "both", ["rows", "columns"])


def replace_last_layer(model: ModelProto, layer: LastLayer) -> ModelProto:
    """Return the network with another last layer, in fp32; the output is P(disaster): (rows,)."""
    answer = model.graph.output[0].name
    needed, kept_nodes = {layer.vector}, list[NodeProto]()
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept_nodes.insert(0, node)
    nodes = [
        helper.make_node("MatMul", [layer.vector, "adapted.weight"], ["adapted.product"]),
        helper.make_node("Add", ["adapted.product", "adapted.bias"], ["adapted.log_odds"]),
        helper.make_node("Sigmoid", ["adapted.log_odds"], ["adapted.column"]),
        helper.make_node("Squeeze", ["adapted.column", "second_axis"], [answer]),
    ]
    tensors = {
        "adapted.weight": layer.weight.astype(np.float32)[:, None],
        "adapted.bias": np.array([layer.bias], np.float32),
    }
    return _rebuild(model, kept_nodes, nodes, tensors, answer, ["rows"])


def _rebuild(
    model: ModelProto,
    kept_nodes: list[NodeProto],
    nodes: list[NodeProto],
    tensors: dict[str, npt.NDArray[Any]],
    output: str,
    shape: list[str],
) -> ModelProto:
    """Return the network of some nodes of another one, followed by new nodes.

    `tensors` are constants of the new nodes; `output` and `shape` describe the only output.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for field in (graph.node, graph.value_info, graph.initializer, graph.output):
        del field[:]
    graph.node.extend([*kept_nodes, *nodes])
    names = {name for node in kept_nodes for name in node.input}
    graph.initializer.extend(t for t in model.graph.initializer if t.name in names)
    tensors = {**tensors, "second_axis": np.array([1], np.int64)}
    graph.initializer.extend(numpy_helper.from_array(t, name) for name, t in tensors.items())
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    return changed
