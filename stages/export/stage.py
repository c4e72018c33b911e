"""Checkpoint -> the locked model: an int8 network in ONNX, calibrated and hashed."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from common.atomic import new_folder
from common.hashing import sha256_of
from locked.classifier import Network, calibrate
from locked.labels import LABELS
from locked.manifest import (
    MANIFEST,
    NETWORK,
    TOKENIZER,
    Adaptation,
    BaseWeights,
    Golden,
    Manifest,
    read_manifest,
)
from locked.reference import HELD_OUT, REFERENCE, Reference
from stages.evaluate.metrics import Scores, Truth, compute
from stages.export.calibration import choose_threshold, fit, for_unseen_groups
from stages.export.network import Probability, compute_scores, tokenise, write_network
from stages.export.quantise import quantise
from stages.shared import arithmetic, base_model, onnx_reference, outputs
from stages.shared.labels import read_labels
from stages.shared.outputs import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

GOLDEN = (  # texts; at its start, a server compares its answers to them with the manifest's
    "Wildfire spreads towards the town, 300 families evacuated",
    "7.1 earthquake: buildings collapsed, rescuers search for survivors http://t.co/abc",
    "this new album is fire and I am drowning in homework",
    "@friend traffic was a disaster today lol &amp; I am dead",
    "\U0001f30a\U0001f30a FLOOD WARNING \U0001f6a8 for the whole valley",
    "\u0632\u0644\u0632\u0627\u0644 \u0642\u0648\u064a",
    "crash " * 200,
    "!",
)


def export(
    checkpoint: Path, data: Path, groups: Path, output: Path, p: "Params", event: Path | None = None
) -> tuple[dict[str, Any], Scores]:
    """Make the locked model from a checkpoint.

    Calibration and threshold are chosen on the validation split. If the data has groups, such as
    events, the calibration is then corrected for unseen groups, with a threshold of 0.5, unless the
    network has learnt labels of an event.

    Args:
        checkpoint: folder that `train` made.
        data: folder of {train,validation,test}.parquet.
        groups: a teacher's answers to known and unseen groups, a file that `distill` wrote.
        output: folder of the locked model to make; it appears only when complete.
        p: all params; `compute`, `model` and `export` are read.
        event: CSV of the event's labelled tweets that the checkpoint has learnt, or None.

    Returns:
        How the network's answers to the validation split differ from those in fp32, and its
        uncalibrated answers to the test split: (rows,).

    Raises:
        InputError: a file in `data` is damaged.

    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    arithmetic.use_threads(p.compute)
    train, validation, test = (
        read_tweets(data / f"{split}.parquet") for split in ("train", "validation", "test")
    )
    sample = train.sample(min(p.export.calibration_rows, len(train)), random_state=p.export.seed)
    tokens = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    # The kernels of fused attention give other bits on other CPUs.
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, attn_implementation="eager"
    ).eval()
    fp32_scores = compute_scores(Probability(model), tokens, validation["text"])
    quantise(model, [tokenise(tokens, [text]) for text in sample["text"]])
    truth = validation["target"].to_numpy()
    with new_folder(output) as folder:
        shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
        write_network(Probability(model), folder / NETWORK)
        engine = onnx_reference.engine(p.compute)
        network = Network(folder, p.model.max_length, p.compute.threads, engine)
        scores = network.uncalibrated(validation["text"].tolist())
        calibration = fit(truth, scores)
        threshold = choose_threshold(calibrate(scores, calibration), truth)
        answers_to_groups = pd.read_parquet(groups)
        if len(answers_to_groups) and not event:
            calibration, threshold = for_unseen_groups(calibration, answers_to_groups), 0.5
        # The answers to the test split are for `evaluate` and the monitor's reference only.
        test_scores = network.uncalibrated(test["text"].tolist())
        reference = Reference.of(
            train["text"],
            float(train["target"].mean()),
            test["text"].head(HELD_OUT).tolist(),
            calibrate(test_scores, calibration),
            test["target"].to_numpy(),
        )
        (folder / REFERENCE).write_text(json.dumps(reference.as_dict()))
        golden = calibrate(network.uncalibrated(GOLDEN), calibration)
        adaptation = None
        if event:
            tweets = len(read_labels(event).texts)
            adaptation = Adaptation(
                labels=event.name, labels_sha256=sha256_of(event), tweets=tweets
            )
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
            metrics=compute(truth, calibrate(scores, calibration), threshold),
            files={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
            golden=[
                Golden(text=text, probability=float(probability))
                for text, probability in zip(GOLDEN, golden, strict=True)
            ],
            adaptation=adaptation,
        )
        outputs.write_json(folder / MANIFEST, manifest.model_dump())
    return compare_precisions(truth, fp32_scores, scores), test_scores


def compare_precisions(truth: Truth, fp32_scores: Scores, int8_scores: Scores) -> dict[str, Any]:
    """Return how answers in int8 differ from those in fp32; both are uncalibrated, (rows,)."""
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


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs; print the model's version."""
    event = outputs.get_csv_path(p.train.event, outputs.LABELS)
    inputs = outputs.CHECKPOINT, outputs.PREPARED, outputs.GROUPS
    parity, answers = export(*inputs, outputs.CLASSIFIER, p, event)
    np.save(outputs.ANSWERS, answers)
    outputs.write_json(outputs.PARITY, parity)
    print(f"model {read_manifest(outputs.CLASSIFIER / MANIFEST).version}")
