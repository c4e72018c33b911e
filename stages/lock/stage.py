"""Network -> the locked model: calibrated, adapted to an event if there are labels, hashed."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from common.atomic import new_folder
from common.errors import InputError
from common.hashing import sha256_of
from locked.classifier import Network, calibrate, log_odds
from locked.labels import LABELS
from locked.manifest import (
    MANIFEST,
    NETWORK,
    TOKENIZER,
    Adaptation,
    BaseWeights,
    Calibration,
    Golden,
    Manifest,
    read_manifest,
)
from locked.reference import HELD_OUT, REFERENCE, Reference
from stages.evaluate.metrics import compute
from stages.export.last_layer import LastLayer, last_layer, replace_last_layer, vector_network
from stages.lock.adapt import ADAPTED_THRESHOLD, Activations, Choice, choose, compare, predict
from stages.lock.calibration import (
    DIGITS,
    SCALES,
    choose_threshold,
    fit,
    for_unseen_groups,
)
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


def lock(
    network: Path, data: Path, groups: Path, labels: Path | None, output: Path, p: "Params"
) -> npt.NDArray[np.float32]:
    """Make the locked model; return its uncalibrated answers to the test split: (rows,).

    Calibration and threshold are chosen on the validation split. If the data has groups, such as
    events, the calibration is then corrected for unseen groups, with a threshold of 0.5, unless the
    network has learnt tweets of an event. If there are labels that it has not learnt, the model is
    then adapted to their event.

    Args:
        network: folder that `export` made.
        data: folder of {train,validation,test}.parquet.
        groups: a teacher's answers to known and unseen groups, a file that `distill` wrote.
        labels: CSV of an event's labelled tweets, or None.
        output: folder of the locked model to make; it appears only when complete.
        p: all params; `compute`, `model` and `train.event` are read.

    Raises:
        InputError: the labels are invalid or contradict the model, or the network was made from
            other data.

    """
    arithmetic.use_threads(p.compute)
    train = read_tweets(data / "train.parquet")
    validation, test = (read_tweets(data / f"{split}.parquet") for split in ("validation", "test"))
    stored = [np.load(network / f"{split}.npy") for split in ("validation", "test")]
    for tweets, columns in zip((validation, test), stored, strict=True):
        if len(tweets) != len(columns):
            raise InputError(f"{network} has answers to other tweets than {data}: run `dvc repro`")
    scores, test_scores = (columns[:, 0] for columns in stored)
    truth = validation["target"].to_numpy()
    calibration = fit(truth, scores)
    threshold = choose_threshold(calibrate(scores, calibration), truth)
    is_trained = labels is not None and labels.name == p.train.event
    answers_to_groups = pd.read_parquet(groups)
    has_learnt_event = is_trained or p.distill.unlabelled != outputs.NO_EVENT
    if len(answers_to_groups) and not has_learnt_event:
        calibration, threshold = for_unseen_groups(calibration, answers_to_groups), 0.5
    model = onnx.load(network / NETWORK)
    adaptation = None
    if labels and is_trained:  # trained on, so they cannot evaluate the model
        adaptation = Adaptation(
            labels=labels.name,
            labels_sha256=sha256_of(labels),
            tweets=len(read_labels(labels).texts),
            step="training",
            reason="train.event names these labels",
        )
    elif labels:
        labelled = read_labels(labels)
        vectors = vector_network(network, p.model.max_length, p.compute)
        layer = last_layer(model)
        event, *held_out = (
            make_activations(columns, layer, calibration)
            for columns in (vectors.uncalibrated(labelled.texts), *stored)
        )
        choice = choose(event, labelled.truth, labelled.weights, threshold)
        before, after = (predict(s, choice.change, held_out[1]) for s in ("none", choice.step))
        thresholds = threshold, threshold if choice.step == "none" else ADAPTED_THRESHOLD
        test_truth = test["target"].to_numpy()
        adaptation = Adaptation(
            labels=labels.name,
            labels_sha256=sha256_of(labels),
            tweets=len(labelled.texts),
            step=choice.step,
            reason=choice.reason,
            auc=choice.auc,
            on_labels=choice.figures,
            on_test=compare(test_truth, (before, after), thresholds, np.ones(len(test))),
        )
        threshold = thresholds[1]
        if choice.step == "calibration":
            calibration = _recalibrated(calibration, choice)
        elif choice.step == "last layer":
            scores, test_scores = (
                predict(choice.step, choice.change, tweets).astype(np.float32)
                for tweets in held_out
            )
            model = replace_last_layer(model, _changed_layer(layer, calibration, choice))
            calibration = Calibration()
    with new_folder(output) as folder:
        shutil.copyfile(network / TOKENIZER, folder / TOKENIZER)
        if adaptation and adaptation.step == "last layer":
            onnx.save(model, folder / NETWORK)
        else:
            shutil.copyfile(network / NETWORK, folder / NETWORK)
        reference = Reference.of(
            train["text"],
            float(train["target"].mean()),
            test["text"].head(HELD_OUT).tolist(),
            calibrate(test_scores, calibration),
            test["target"].to_numpy(),
        )
        (folder / REFERENCE).write_text(json.dumps(reference.as_dict()))
        engine = onnx_reference.engine(p.compute)
        locked = Network(folder, p.model.max_length, p.compute.threads, engine)
        golden = calibrate(locked.uncalibrated(GOLDEN), calibration)
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
    return np.asarray(test_scores)


def make_activations(
    columns: npt.NDArray[np.float32], layer: LastLayer, calibration: Calibration
) -> Activations:
    """Return the calibrated activations of tweets, from the output of `vector_network`."""
    vectors = columns[:, 1:].astype(np.float64)
    return Activations(
        calibration.scale * log_odds(columns[:, 0]) + calibration.shift,
        calibration.scale * (vectors @ layer.weight + layer.bias) + calibration.shift,
        vectors,
    )


def _recalibrated(calibration: Calibration, choice: Choice) -> Calibration:
    """Return the calibration after the step `calibration`."""
    scale, shift = max(1 + choice.change[0], SCALES[0]), choice.change[1]
    return Calibration(
        scale=round(scale * calibration.scale, DIGITS),
        shift=round(scale * calibration.shift + shift, DIGITS),
    )


def _changed_layer(layer: LastLayer, calibration: Calibration, choice: Choice) -> LastLayer:
    """Return the last layer after the step `last layer`; it includes the calibration."""
    return LastLayer(
        layer.vector,
        calibration.scale * layer.weight + choice.change[:-1],
        calibration.scale * layer.bias + calibration.shift + choice.change[-1],
    )


def report_lines(adaptation: Adaptation) -> list[str]:
    """Return the step of an adaptation, and a line for each figure that it changed."""
    lines = [f"{adaptation.tweets} labels, step: {adaptation.step} ({adaptation.reason})"]
    for where, changes in (
        ("on the labels, cross-fitted", adaptation.on_labels),
        ("on the old test split", adaptation.on_test),
    ):
        for name, change in changes.items():
            low, high = change.difference_95
            lines.append(
                f"{where}: {name.replace('_', ' ')} {change.before:.3f} -> {change.after:.3f}"
                f" (change {low:+.3f} to {high:+.3f}, 95 %)"
            )
    return lines


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs; print the model's version."""
    labels = outputs.file_of(p.lock.labels or p.train.event, outputs.LABELS)
    scores = lock(outputs.NETWORK, outputs.PREPARED, outputs.GROUPS, labels, outputs.CLASSIFIER, p)
    np.save(outputs.ANSWERS, scores)
    manifest = read_manifest(outputs.CLASSIFIER / MANIFEST)
    if manifest.adaptation:
        print(*report_lines(manifest.adaptation), sep="\n")
    print(f"model {manifest.version}")
