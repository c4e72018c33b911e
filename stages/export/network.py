"""A fine-tuned network as a module of PyTorch, and as a file in ONNX."""

import logging
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from common.progress import Progress
from stages.export.quantise import Ids

OPSET = 20  # of ONNX; the first with Gelu
INPUTS = ("input_ids", "attention_mask")
FP32_BATCH = 32


class Probability(torch.nn.Module):
    """Wraps a sequence classifier so that its output is P(disaster): (rows,)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map token ids and their mask, both (rows, tokens), to P(disaster)."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return torch.softmax(logits, dim=-1)[:, 1]


def tokenise(tokens: Tokenizer, texts: list[str]) -> Ids:
    """Return token ids and mask of texts: (texts, tokens) each."""
    encoded = tokens.encode_batch(texts)
    ids = torch.tensor([e.ids for e in encoded])
    return ids, torch.tensor([e.attention_mask for e in encoded])


def write_network(model: Probability, path: Path) -> None:
    """Write the model as ONNX; equal models give equal bytes on every machine."""
    example = {name: torch.ones(2, 16, dtype=torch.long) for name in INPUTS}
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is missing, not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        shapes = dict.fromkeys(INPUTS, dynamic)
        program = torch.onnx.export(
            model, (), kwargs=example, dynamic_shapes=shapes, opset_version=OPSET, verbose=False
        )
    network = program.model  # type: ignore[union-attr] # None without `dynamo`
    for node in network.graph.all_nodes():
        node.metadata_props.clear()  # source code with paths of this machine
    network.metadata_props.clear()
    program.save(path)  # type: ignore[union-attr] # as above


@torch.no_grad()
def compute_scores(
    model: Probability, tokens: Tokenizer, texts: pd.Series
) -> npt.NDArray[np.float32]:
    """Return P(disaster) of each text by the model in PyTorch: (texts,)."""
    scores, starts = [], range(0, len(texts), FP32_BATCH)
    for start in Progress(starts, desc="export: answering in fp32", unit=" batches"):
        ids, mask = tokenise(tokens, texts[start : start + FP32_BATCH].tolist())
        scores.append(model(input_ids=ids, attention_mask=mask).numpy())
    return np.concatenate(scores)
