"""Checkpoint -> the locked model: an int8 network, its tokenizer and a manifest of hashes."""

import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("CI", "true")  # read at import: the switch of OpenVINO's and NNCF's telemetry

import nncf
import numpy as np
import numpy.typing as npt
import openvino as ov
import pandas as pd
import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from serve import locked
from serve.classifier import Classifier
from stages import base_model, params
from stages.io import new_folder, run, write_json
from stages.metrics import compute
from stages.params import Params
from stages.paths import CHECKPOINT, CLASSIFIER, PARITY, PREPARED

EXACT_BATCH = 32
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

Inputs = dict[str, npt.NDArray[np.int64]]


class Probability(torch.nn.Module):
    """A sequence classifier that returns P(disaster): (rows,)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map token ids and their mask, both (rows, tokens), to P(disaster)."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return torch.softmax(logits, dim=-1)[:, 1]


def export(checkpoint: Path, data: Path, output: Path, p: Params) -> dict[str, Any]:
    """Quantise a checkpoint, choose its threshold, lock it; return how it differs from fp32.

    Weights and activations become int8 by static post-training quantisation (NNCF, with
    SmoothQuant, https://arxiv.org/abs/2211.10438), their ranges taken from training tweets.

    Args:
        checkpoint: folder that the training made.
        data: folder of {train,validation}.parquet.
        output: folder of the locked model to make; it appears only when complete.
        p: all params; `model` and `export` are read.

    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(p.train.threads)
    train = pd.read_parquet(data / "train.parquet")
    validation = pd.read_parquet(data / "validation.parquet")
    truth = validation["target"].to_numpy()
    sample = train.sample(min(p.export.calibration_rows, len(train)), random_state=p.export.seed)
    tokens = Tokenizer.from_file(str(checkpoint / locked.TOKENIZER))
    model = Probability(
        AutoModelForSequenceClassification.from_pretrained(
            checkpoint, dtype=torch.float32, local_files_only=True
        )
    ).eval()
    with new_folder(output) as folder:
        shutil.copyfile(checkpoint / locked.TOKENIZER, folder / locked.TOKENIZER)
        network = _quantise(model, _inputs(tokens, sample["text"]))
        ov.save_model(network, folder / locked.NETWORK, compress_to_fp16=False)
        _write_manifest(folder, data, p, threshold=0.5, metrics={}, golden=[])
        classifier = Classifier(folder, p.train.threads)
        scores = classifier.probabilities(validation["text"].tolist())
        threshold = choose_threshold(scores, truth)
        figures = compute(truth, scores, threshold)
        golden = [
            locked.Golden(text=text, probability=float(probability))
            for text, probability in zip(GOLDEN, classifier.probabilities(GOLDEN), strict=True)
        ]
        _write_manifest(folder, data, p, threshold, figures, golden)
        exact = _exact_scores(model, tokens, validation["text"])
    return {
        "rows": len(truth),
        "accuracy_fp32": compute(truth, exact, threshold)["accuracy"],
        "accuracy_int8": figures["accuracy"],
        "accuracy_difference": figures["accuracy"] - compute(truth, exact, threshold)["accuracy"],
        "probability_difference_largest": float(np.abs(scores - exact).max()),
        "probability_difference_mean": float(np.abs(scores - exact).mean()),
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


def _inputs(tokens: Tokenizer, texts: pd.Series) -> list[Inputs]:
    """Tokenise each text to the network's inputs, one row each."""
    return [
        {"input_ids": np.array([e.ids]), "attention_mask": np.array([e.attention_mask])}
        for e in (tokens.encode(text) for text in texts)
    ]


def _quantise(model: Probability, calibration: list[Inputs]) -> ov.Model:
    """Convert a torch model to OpenVINO and quantise it, with ranges that `calibration` spans."""
    example = {name: torch.from_numpy(value) for name, value in calibration[0].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about branches that our inputs never take
        network = ov.convert_model(model, example_input=example)
    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        network,
        nncf.Dataset(calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
    )


def _write_manifest(
    folder: Path,
    data: Path,
    p: Params,
    threshold: float,
    metrics: dict[str, float],
    golden: list[locked.Golden],
) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != locked.MANIFEST)
    manifest = locked.Manifest(
        labels=locked.LABELS,
        threshold=threshold,
        max_length=p.model.max_length,
        base_model=locked.BaseWeights(
            name=p.model.name,
            revision=p.model.revision,
            sha256=locked.sha256_of(base_model.locate(p.model) / base_model.WEIGHTS),
        ),
        training_data_sha256=locked.sha256_of(data / "train.parquet"),
        metrics=metrics,
        files={path.name: locked.sha256_of(path) for path in files},
        golden=golden,
    )
    write_json(folder / locked.MANIFEST, manifest.model_dump())


@torch.no_grad()
def _exact_scores(
    model: Probability, tokens: Tokenizer, texts: pd.Series
) -> npt.NDArray[np.float32]:
    """P(disaster) of each text by the checkpoint itself, in fp32."""
    chunks = range(0, len(texts), EXACT_BATCH)
    scores = []
    for start in tqdm(chunks, desc="export: parity with fp32", unit=" batches"):
        encoded = tokens.encode_batch(texts[start : start + EXACT_BATCH].tolist())
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        scores.append(model(input_ids=ids, attention_mask=mask).numpy())
    return np.concatenate(scores)


def main() -> None:
    """Run the stage as params.yaml has it."""
    parity = export(CHECKPOINT, PREPARED, CLASSIFIER, params.load())
    write_json(PARITY, parity)


if __name__ == "__main__":
    run(main)
