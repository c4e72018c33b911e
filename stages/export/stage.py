"""Checkpoint -> an int8 network in ONNX, its tokenizer and its answers to held-out tweets."""

import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from common.atomic import new_folder
from common.progress import Progress
from locked.manifest import NETWORK, TOKENIZER
from stages.export.last_layer import vector_network
from stages.export.quantise import Ids, quantise
from stages.shared import arithmetic, outputs
from stages.shared.outputs import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

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


def export(checkpoint: Path, data: Path, output: Path, p: "Params") -> dict[str, Any]:
    """Quantise a checkpoint; return how its answers differ from those in fp32.

    Makes the folder `output` with the network (ONNX), its tokenizer, and {validation,test}.npy with
    P(disaster) and the vector before the last layer for each tweet of a split: (rows, 1 + units).

    Raises InputError if a file in `data` is damaged.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    arithmetic.use_threads(p.compute)
    train = read_tweets(data / "train.parquet")
    validation = read_tweets(data / "validation.parquet")
    sample = train.sample(min(p.export.calibration_rows, len(train)), random_state=p.export.seed)
    tokens = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    # The kernels of fused attention give other bits on other CPUs.
    network = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, attn_implementation="eager"
    ).eval()
    model = Probability(network)
    fp32_scores = _compute_scores(model, tokens, validation["text"])
    quantise(network, [_tokenise(tokens, [text]) for text in sample["text"]])
    with new_folder(output) as folder:
        shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
        write_network(model, folder / NETWORK)
        vectors = vector_network(folder, p.model.max_length, p.compute)
        answers = vectors.uncalibrated(validation["text"].tolist())
        np.save(folder / "validation.npy", answers)
        # The answers to the test split are for `evaluate` and the monitor's reference only.
        test = read_tweets(data / "test.parquet")
        np.save(folder / "test.npy", vectors.uncalibrated(test["text"].tolist()))
    int8_scores, truth = answers[:, 0], validation["target"].to_numpy()
    accuracies = [float(((s >= 0.5) == truth).mean()) for s in (fp32_scores, int8_scores)]
    differences = np.abs(int8_scores - fp32_scores)
    return {
        "rows": len(truth),
        "accuracy_fp32": accuracies[0],
        "accuracy_int8": accuracies[1],
        "accuracy_difference": accuracies[1] - accuracies[0],
        "probability_difference_largest": float(differences.max()),
        "probability_difference_mean": float(differences.mean()),
    }


def _tokenise(tokens: Tokenizer, texts: list[str]) -> Ids:
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
def _compute_scores(
    model: Probability, tokens: Tokenizer, texts: pd.Series
) -> npt.NDArray[np.float32]:
    """Return P(disaster) of each text by the model in PyTorch: (texts,)."""
    scores, starts = [], range(0, len(texts), FP32_BATCH)
    for start in Progress(starts, desc="export: answering in fp32", unit=" batches"):
        ids, mask = _tokenise(tokens, texts[start : start + FP32_BATCH].tolist())
        scores.append(model(input_ids=ids, attention_mask=mask).numpy())
    return np.concatenate(scores)


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs."""
    parity = export(outputs.CHECKPOINT, outputs.PREPARED, outputs.NETWORK, p)
    outputs.write_json(outputs.PARITY, parity)
