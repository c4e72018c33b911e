"""Quantises a fine-tuned network to int8.

Static quantisation after training: the input of each linear layer gets 8 bits with one scale, its
weights get 7 bits with a scale for each output, and word vectors get 8 bits with a scale each. In
ONNX, the operators QuantizeLinear and DequantizeLinear convert between integers and numbers.

- The scales are measured on training tweets, in a forward pass in fp32, so a text's answer does not
  depend on the other texts of its batch.
- Weights have 7 bits, because CPUs without VNNI add two products in 16 bits, and with 8 bits the
  sum would saturate (Intel: vpmaddubsw).
- A few inputs of a layer are many times larger than the others, so one scale for all would be too
  coarse. They are divided by a factor, and their weights are multiplied by it (SmoothQuant, Xiao et
  al. 2022, https://arxiv.org/abs/2211.10438). The size from which inputs are divided is searched
  for each layer, by the least error of its output (as in AWQ, Lin et al. 2023,
  https://arxiv.org/abs/2306.00978).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401 - registers the operators below
from transformers import PreTrainedModel

from common.progress import Progress

INPUT_TOP = 255  # the largest integer of an input
WEIGHT_TOP = 63  # of a weight
VECTOR_TOP = 127  # of a word vector
CAPS = (0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)  # quantiles of the inputs' sizes to try
STRIDE = 4  # every fourth token vector is stored, to measure errors
TINY = 1e-8  # the least scale, also if all numbers are zero

Ids = tuple[torch.Tensor, torch.Tensor]  # token ids and mask, (1, tokens) each
operators = torch.ops.quantized_decomposed


@dataclass
class Range:
    """The range of an input of linear layers on the calibration texts."""

    low: torch.Tensor  # (units,)
    high: torch.Tensor  # (units,)
    rows: list[torch.Tensor] = field(default_factory=list)  # a sample: (token vectors, units) each


@dataclass(frozen=True)
class Scale:
    """How an input becomes 8 bits: x * factor / step + zero, rounded, 0 to INPUT_TOP."""

    factor: torch.Tensor  # (units,), below 1 for outliers, else 1; the weights are divided by it
    step: float
    zero: int

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Quantise and dequantise x * factor."""
        arguments = (self.step, self.zero, 0, INPUT_TOP, torch.uint8)
        small = operators.quantize_per_tensor(x * self.factor, *arguments)
        real: torch.Tensor = operators.dequantize_per_tensor(small, *arguments)
        return real


class QuantisedLinear(torch.nn.Module):
    """A linear layer with a quantised input and quantised weights."""

    weight: torch.Tensor  # int8, (inputs, outputs)

    def __init__(self, linear: torch.nn.Linear, scale: Scale) -> None:
        super().__init__()
        integers, step = _quantise_rows(linear.weight / scale.factor, WEIGHT_TOP)
        self.scale = scale
        self.register_buffer("weight", integers.T.contiguous())
        self.register_buffer("step", step.squeeze(1))
        self.register_buffer("zero", torch.zeros(len(integers), dtype=torch.int8))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (…, inputs) to (…, outputs)."""
        weight = operators.dequantize_per_channel(
            self.weight, self.step, self.zero, 1, -WEIGHT_TOP, WEIGHT_TOP, torch.int8
        )
        product: torch.Tensor = self.scale.apply(x) @ weight
        return product if self.bias is None else product + self.bias


class QuantisedEmbedding(torch.nn.Module):
    """Word vectors in 8 bits, each with its scale."""

    weight: torch.Tensor  # int8, (tokens, units)
    step: torch.Tensor  # (tokens, 1)

    def __init__(self, embedding: torch.nn.Embedding) -> None:
        super().__init__()
        integers, step = _quantise_rows(embedding.weight, VECTOR_TOP)
        self.register_buffer("weight", integers)
        self.register_buffer("step", step)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Map ids to their vectors."""
        small = torch.nn.functional.embedding(ids, self.weight)
        return small.to(torch.float32) * torch.nn.functional.embedding(ids, self.step)


@torch.no_grad()
def quantise(model: PreTrainedModel, texts: Sequence[Ids]) -> None:
    """Replace the linear layers and word vectors of a model by quantised ones, in place.

    The model is in fp32 on the CPU; the ranges of inputs are measured on `texts`.
    """
    groups = _measure_ranges(model, texts)
    with Progress(desc="export: quantising", total=len(groups), unit=" inputs") as progress:
        for inputs, layers in groups:
            scale = _best_scale(inputs, [layer.weight for layer in layers.values()])
            for name, layer in layers.items():
                model.set_submodule(name, QuantisedLinear(layer, scale))
            progress.update()
    model.set_input_embeddings(QuantisedEmbedding(model.get_input_embeddings()))


def _measure_ranges(
    model: PreTrainedModel, texts: Sequence[Ids]
) -> list[tuple[Range, dict[str, torch.nn.Linear]]]:
    """Return the range of each input of linear layers, with the layers that share this input."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    inputs_of: dict[str, torch.Tensor] = {}  # the input of each layer, for the current text

    def record(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        inputs_of[name] = inputs[0]

    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: record(name, inputs))
        for name, layer in layers.items()
    ]
    ranges: dict[tuple[str, ...], Range] = {}
    for ids, mask in Progress(texts, desc="export: calibrating", unit=" texts"):
        inputs_of.clear()
        model(input_ids=ids, attention_mask=mask)
        names_by_input = defaultdict(list)
        for name, tensor in inputs_of.items():
            names_by_input[id(tensor)].append(name)
        for names in names_by_input.values():
            x = inputs_of[names[0]].flatten(0, -2)
            entry = ranges.setdefault(tuple(names), Range(x.amin(0), x.amax(0)))
            entry.low = torch.minimum(entry.low, x.amin(0))
            entry.high = torch.maximum(entry.high, x.amax(0))
            entry.rows.append(x[::STRIDE].clone())
    for hook in hooks:
        hook.remove()
    return [(entry, {name: layers[name] for name in names}) for names, entry in ranges.items()]


def _best_scale(inputs: Range, weights: list[torch.Tensor]) -> Scale:
    """Return the scale of an input with the least error of the layers' outputs."""
    rows = torch.cat(inputs.rows)
    largest = torch.maximum(-inputs.low, inputs.high)
    exact_outputs = [rows @ weight.T for weight in weights]
    scales, errors = [], []
    for cap in CAPS:
        factor = (torch.quantile(largest, cap) / largest.clamp(min=TINY)).clamp(TINY, 1)
        low = min(0.0, float((inputs.low * factor).min()))
        high = max(0.0, float((inputs.high * factor).max()))
        step = max((high - low) / INPUT_TOP, TINY)
        scale = Scale(factor, step, round(-low / step))
        x, error = scale.apply(rows), 0.0
        for weight, exact in zip(weights, exact_outputs, strict=True):
            integers, weight_step = _quantise_rows(weight / factor, WEIGHT_TOP)
            error += float((x @ (integers * weight_step).T - exact).square().mean())
        scales.append(scale)
        errors.append(error)
    return scales[errors.index(min(errors))]


def _quantise_rows(weight: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows as integers from -top to top, and the step of each row: (rows, 1)."""
    step = (weight.detach().abs().amax(1, keepdim=True) / top).clamp(min=TINY)
    return (weight.detach() / step).round().to(torch.int8), step
