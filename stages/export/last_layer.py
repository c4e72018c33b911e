"""The last layer of a network in ONNX: read, exposed and replaced.

A network that `export` wrote ends with a quantised linear layer to two logits and a softmax. The
vector that this layer multiplies describes a tweet; another layer on the same vectors is another
classifier at no further cost.
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

    vector: str  # the name of the tensor: (rows, units)
    weight: npt.NDArray[np.float64]  # (units,)
    bias: float


def last_layer(model: ModelProto) -> LastLayer:
    """Return the last layer of a network."""
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
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
    """Load a network that gives P(disaster) and then the vector of each text: (rows, 1 + units)."""
    with tempfile.TemporaryDirectory() as draft:
        path = Path(draft) / NETWORK
        onnx.save(with_vectors(onnx.load(folder / NETWORK)), path)
        load = onnx_reference.engine(compute)
        return Network(folder, max_length, compute.threads, lambda _, threads: load(path, threads))


def with_vectors(model: ModelProto) -> ModelProto:
    """Return the network with one more output, the vectors, in columns: (rows, 1 + units)."""
    answer = model.graph.output[0].name
    nodes = [
        helper.make_node("Unsqueeze", [answer, "second_axis"], ["answer_column"]),
        helper.make_node("Concat", ["answer_column", last_layer(model).vector], ["both"], axis=1),
    ]
    return _with_nodes(model, [*model.graph.node], nodes, {}, "both", ["rows", "columns"])


def with_last_layer(model: ModelProto, layer: LastLayer) -> ModelProto:
    """Return the network with another last layer, in fp32, whose output is P(disaster)."""
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
    return _with_nodes(model, kept_nodes, nodes, tensors, answer, ["rows"])


def _with_nodes(
    model: ModelProto,
    kept_nodes: list[NodeProto],
    nodes: list[NodeProto],
    tensors: dict[str, npt.NDArray[Any]],
    output: str,
    shape: list[str],
) -> ModelProto:
    """Return some nodes of a network, followed by new ones that give another output."""
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
