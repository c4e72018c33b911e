"""Checkpoint -> the locked model: an int8 network, its tokenizer and a manifest of hashes."""

import json
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
from common.hashing import sha256_of
from common.progress import Progress
from locked.classifier import calibrate
from locked.labels import LABELS
from locked.manifest import MANIFEST, NETWORK, TOKENIZER, BaseWeights, Calibration, Golden, Manifest
from locked.reference import HELD_OUT, REFERENCE, Reference
from stages.evaluate.metrics import compute
from stages.export.calibration import fit
from stages.export.quantise import Ids, quantise
from stages.shared import base_model, exact, onnx_reference
from stages.shared.outputs import CHECKPOINT, CLASSIFIER, PARITY, PREPARED, write_json
from stages.shared.tweets import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

OPSET = 20  # of ONNX; the first with Gelu
INPUTS = ("input_ids", "attention_mask")
FP32_BATCH = 32
GOLDEN = (  # texts whose answers a server compares before it trusts the model
    "Wildfire spreads towards the town, 300 families evacuated",
    "7.1 earthquake: buildings collapsed, rescuers search for survivors http://t.co/abc",
    "this new album is fire and I am drowning in homework",
    "@friend traffic was a disaster today lol &amp; I am dead",
    "\U0001f30a\U0001f30a FLOOD WARNING \U0001f6a8 for the whole valley",
    "\u0632\u0644\u0632\u0627\u0644 \u0642\u0648\u064a",
    "crash " * 200,
    "!",
)


class Probability(torch.nn.Module):
    """A sequence classifier that returns P(disaster): (rows,)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map token ids and their mask, both (rows, tokens), to P(disaster)."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return torch.softmax(logits, dim=-1)[:, 1]


def export(checkpoint: Path, data: Path, output: Path, p: "Params") -> dict[str, Any]:
    """Quantise a checkpoint, calibrate and lock it; return how it differs from fp32.

    The network is written as ONNX, which more than one engine reads, and judged as the standard
    defines it (stages/onnx_reference.py).

    Args:
        checkpoint: folder that the training made.
        data: folder of {train,validation,test}.parquet.
        output: folder of the locked model to make; it appears only when complete.
        p: all params; `compute`, `model` and `export` are read.

    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    exact.use_threads(p.compute)
    train = read_tweets(data / "train.parquet")
    validation = read_tweets(data / "validation.parquet")
    truth = validation["target"].to_numpy()
    sample = train.sample(min(p.export.calibration_rows, len(train)), random_state=p.export.seed)
    tokens = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    network = AutoModelForSequenceClassification.from_pretrained(
        checkpoint,
        dtype=torch.float32,
        local_files_only=True,
        attn_implementation="eager",  # the fused one computes on its own, out of `exact`'s reach
    ).eval()
    model = Probability(network)
    before = _scores(model, tokens, validation["text"])
    quantise(network, [_ids(tokens, [text]) for text in sample["text"]])
    with new_folder(output) as folder:
        shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
        write_network(model, folder / NETWORK)
        _write_manifest(folder, data, p, Calibration(), threshold=0.5, metrics={}, golden=[])
        classifier = onnx_reference.classifier(folder, p.compute)
        said = classifier.uncalibrated(validation["text"].tolist())
        calibration = fit(truth, said)
        scores = calibrate(said, calibration)
        threshold = choose_threshold(scores, truth)
        figures = compute(truth, scores, threshold)
        answers = calibrate(classifier.uncalibrated(GOLDEN), calibration)
        # The test split is read to be carried along: nothing here is chosen by it.
        test = read_tweets(data / "test.parquet").head(HELD_OUT)
        held_out = Reference.of(
            train["text"],
            float(train["target"].mean()),
            test["text"].tolist(),
            calibrate(classifier.uncalibrated(test["text"].tolist()), calibration),
            test["target"].to_numpy(),
        )
        (folder / REFERENCE).write_text(json.dumps(held_out.dumped()))
        golden = [
            Golden(text=text, probability=float(probability))
            for text, probability in zip(GOLDEN, answers, strict=True)
        ]
        _write_manifest(folder, data, p, calibration, threshold, figures, golden)
    exactly = compute(truth, calibrate(before, calibration), threshold)
    return {
        "rows": len(truth),
        "accuracy_fp32": exactly["accuracy"],
        "accuracy_int8": figures["accuracy"],
        "accuracy_difference": figures["accuracy"] - exactly["accuracy"],
        "probability_difference_largest": float(np.abs(said - before).max()),
        "probability_difference_mean": float(np.abs(said - before).mean()),
    }


def choose_threshold(probabilities: npt.NDArray[np.float32], truth: npt.NDArray[np.int8]) -> float:
    """Choose the probability from which a tweet is called a disaster.

    Of the thresholds whose accuracy is within one standard error of the best (the one-standard-
    error rule of Breiman et al., Classification and Regression Trees, 1984), the one nearest to
    0.5: a few hundred tweets do not tell the others apart, and the very best one is chance.
    """
    grid = np.linspace(0.01, 0.99, 99).round(2)
    accuracy = ((probabilities[:, None] >= grid) == truth[:, None].astype(bool)).mean(axis=0)
    best = accuracy.max()
    good = grid[accuracy >= best - np.sqrt(best * (1 - best) / len(truth))]
    return float(good[np.abs(good - 0.5).argmin()])


def _ids(tokens: Tokenizer, texts: list[str]) -> Ids:
    """Tokenise texts: ids and their mask, (texts, tokens) each."""
    encoded = tokens.encode_batch(texts)
    ids = torch.tensor([e.ids for e in encoded])
    return ids, torch.tensor([e.attention_mask for e in encoded])


def write_network(model: Probability, path: Path) -> None:
    """Write the model as ONNX: the same bytes for the same model, wherever that is done."""
    example = {name: torch.ones(2, 16, dtype=torch.long) for name in INPUTS}
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that torchvision is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about itself
        program = torch.onnx.export(
            model,
            (),
            kwargs=example,
            dynamic_shapes=dict.fromkeys(INPUTS, dynamic),
            opset_version=OPSET,
            verbose=False,
        )
    network = program.model  # type: ignore[union-attr] # None without `dynamo`
    for node in network.graph.all_nodes():
        node.metadata_props.clear()  # lines of source code, with the paths of this machine
    network.metadata_props.clear()
    program.save(path)  # type: ignore[union-attr] # as above


def _write_manifest(
    folder: Path,
    data: Path,
    p: "Params",
    calibration: Calibration,
    threshold: float,
    metrics: dict[str, float],
    golden: list[Golden],
) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    manifest = Manifest(
        labels=LABELS,
        calibration=calibration,
        threshold=threshold,
        max_length=p.model.max_length,
        base_model=BaseWeights(
            name=p.model.name,
            revision=p.model.revision,
            sha256=sha256_of(base_model.locate(p.model) / base_model.WEIGHTS),
        ),
        training_data_sha256=sha256_of(data / "train.parquet"),
        metrics=metrics,
        files={path.name: sha256_of(path) for path in files},
        golden=golden,
    )
    write_json(folder / MANIFEST, manifest.model_dump())


@torch.no_grad()
def _scores(model: Probability, tokens: Tokenizer, texts: pd.Series) -> npt.NDArray[np.float32]:
    """P(disaster) of each text by the checkpoint itself, in fp32."""
    scores = []
    for start in Progress(
        range(0, len(texts), FP32_BATCH), desc="export: in fp32", unit=" batches"
    ):
        ids, mask = _ids(tokens, texts[start : start + FP32_BATCH].tolist())
        scores.append(model(input_ids=ids, attention_mask=mask).numpy())
    return np.concatenate(scores)


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it."""
    parity = export(CHECKPOINT, PREPARED, CLASSIFIER, p)
    write_json(PARITY, parity)
