"""Prepared tweets and soft targets -> a fine-tuned checkpoint and its training log."""

import functools
import math
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd
import torch
from accelerate.utils import broadcast_object_list

from common.atomic import new_folder
from common.errors import InputError
from common.hashing import sha256_of
from common.progress import Progress
from reader.canonical import canonical_texts
from stages.shared import base_model, outputs
from stages.shared.batches import Tweets, batches_of
from stages.shared.labels import read_labels
from stages.shared.outputs import read_tweets
from stages.train.checkpoints import Checkpoints, recorded_signals
from stages.train.machine import describe_machine
from stages.train.trainer import Trainer
from stages.train.training_log import SPEED, TrainingLog

if TYPE_CHECKING:
    from stages.params import Params

# Share of an event's tweets in the training rows: about ten copies each of 50 labelled tweets.
# docs/event.md has the effect; no other share was measured.
EVENT_SHARE = 0.15


@dataclass
class Position:
    """The progress of a run."""

    epoch: int = 1  # the current one
    batch: int = 0  # finished batches of this epoch
    step: int = 0  # finished batches of all epochs
    # Validation metrics of the best epoch, and its number.
    best: dict[str, float] = field(default_factory=lambda: {"loss": math.inf, "epoch": math.inf})


def train(
    data: Path,
    targets: Path,
    output: Path,
    history: Path,
    checkpoints: Path,
    p: "Params",
    event: Path | None = None,
) -> dict[str, float]:
    """Fine-tune the base model; return the best epoch's validation metrics and its number.

    The best epoch has the lowest validation loss. A run that was stopped resumes from its last
    checkpoint, and gives the same bytes as without the stop.

    Args:
        data: folder of {train,validation}.parquet.
        targets: file with id and soft target of each training tweet, in their order.
        output: folder to make, with the best epoch's weights, config.json and tokenizer.json.
        history: folder to make, with the figures by step (DVCLive).
        checkpoints: folder of checkpoints, of this run and others.
        p: all params; `compute`, `model`, `train` and `runtime` are read.
        event: CSV of an event's labelled tweets to train on too, or None.

    Raises:
        InputError: the base model is not the pinned one, the targets are those of other tweets, the
            labels are invalid, or the training diverges.
        SystemExit: SIGTERM or SIGINT was received; a checkpoint is saved.

    """
    base = base_model.locate(p.model)
    tokens = base_model.tokenizer(base, p.model.max_length)
    labelled, soft = read_tweets(data / "train.parquet"), read_tweets(targets)
    if not labelled["id"].equals(soft["id"]):
        raise InputError(
            f"{targets} has other tweets than {data / 'train.parquet'}: run `dvc repro`"
        )
    examples = labelled[["text"]].assign(target=soft["target"])
    if event:
        judging = [read_tweets(data / f"{split}.parquet") for split in ("validation", "test")]
        examples = add_event(examples, event, pd.concat(judging)["text"].tolist())
    tweets = Tweets(examples, tokens, "train")
    validation = Tweets(read_tweets(data / "validation.parquet"), tokens, "validation")
    order = functools.partial(batches_of, tweets.lengths, p.train.batch_size, p.train.seed)
    trainer = Trainer(base, len(order(1)) * p.train.epochs, p.train, p.compute)
    accelerator = trainer.accelerator
    is_main = accelerator.is_main_process
    params = p.model_dump(include={"compute", "model", "train"})
    inputs = [data / "train.parquet", targets, data / "validation.parquet", *filter(None, [event])]
    store = Checkpoints(
        checkpoints,
        {
            "params": params,
            "device": accelerator.device.type,
            "precision": accelerator.mixed_precision,
            "processes": accelerator.num_processes,
        },
        [*inputs, *(base / name for name in base_model.FILES.values())],
    )
    state = broadcast_object_list([store.load() if is_main else None])[0]
    at, best_weights = Position(), {}
    if state:
        at, best_weights = Position(**state["position"]), state["best_weights"]
        trainer.load_state_dict(state["trainer"])

    with (
        TrainingLog(history, p, is_main, state["log"] if state else None) as log,
        recorded_signals() as signals,
    ):

        def save() -> bool:
            state = {
                "position": asdict(at),
                "best_weights": best_weights,
                "trainer": trainer.state_dict(),
                "log": log.state(),
            }
            return not is_main or store.save(at.step, state)

        # Stop when the validation loss has not improved for `patience` epochs.
        while at.epoch <= min(p.train.epochs, at.best["epoch"] + p.train.patience):
            batches = order(at.epoch)
            with Progress(
                desc=f"train: epoch {at.epoch}/{p.train.epochs}",
                total=len(tweets),
                initial=sum(map(len, batches[: at.batch])),
                unit=" tweets",
            ) as progress:
                for rows in batches[at.batch :]:
                    start = time.perf_counter()
                    step = trainer.step(tweets.batch(trainer.share(rows)), bool(signals))
                    at.step, at.batch = at.step + 1, at.batch + 1
                    if not math.isfinite(step.loss):
                        raise InputError(
                            f"the training diverged: the loss is {step.loss} at step {at.step}; "
                            f"try a lower train.lr than {p.train.lr}, or train.precision: fp32"
                        )
                    figures = {
                        "train/loss": step.loss,
                        "train/learning_rate": step.learning_rate,
                        "train/gradient_norm": step.gradient_norm,
                        SPEED: step.rows / (time.perf_counter() - start),
                    }
                    log.log(at.step, figures)
                    progress.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
                    progress.update(step.rows)
                    if step.is_stopping:
                        _stop(signals[0] if signals else signal.SIGTERM, at.step, save())
                    if at.step % p.runtime.checkpoint_steps == 0:
                        save()
            metrics = trainer.validate(validation)
            log.log(at.step, {f"validation/{name}": value for name, value in metrics.items()})
            accelerator.print(
                f"epoch {at.epoch}: validation "
                + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            )
            if metrics["loss"] < at.best["loss"]:
                at.best = {**metrics, "epoch": at.epoch}
                best_weights = trainer.weights()
            at.epoch, at.batch = at.epoch + 1, 0
            save()
        if is_main:
            with new_folder(output) as folder:
                trainer.save_pretrained(folder, best_weights)
                tokens.save(str(folder / base_model.FILES["tokenizer"]))
            best = {f"best_{name}": value for name, value in at.best.items()}
            log.summarise(best, sha256_of(output / base_model.WEIGHTS))
            store.clear()
    trainer.end()
    return at.best


def add_event(tweets: pd.DataFrame, labels: Path, judging: list[str]) -> pd.DataFrame:
    """Return the tweets and an event's tweets, repeated so that they are about EVENT_SHARE of all.

    Raises:
        InputError: a tweet of the event is in `judging`, the texts of the other splits.

    """
    event = read_labels(labels)
    judging_texts = set(canonical_texts(judging))
    canonical = zip(event.texts, canonical_texts(event.texts), strict=True)
    if shared := [text for text, same in canonical if same in judging_texts]:
        raise InputError(
            f"{labels}: these tweets are in the validation or test split, which judge the model. "
            f"Remove them: {'; '.join(repr(text[:40]) for text in shared[:3])}"
            + (f" and {len(shared) - 3} more" if len(shared) > 3 else "")
        )
    copies = max(1, round(EVENT_SHARE / (1 - EVENT_SHARE) * len(tweets) / len(event.texts)))
    rows = pd.DataFrame({"text": event.texts, "target": event.truth})
    return pd.concat([tweets, *[rows] * copies], ignore_index=True)


def _stop(number: int, step: int, is_saved: bool) -> NoReturn:
    """Exit with the status of a process that the signal `number` ended."""
    name = signal.Signals(number).name
    outcome = "saved; the same command" if is_saved else "not saved; the next run"
    from_where = "" if is_saved else " from an earlier step"
    print(f"train: {name} at step {step}: {outcome} resumes{from_where}", file=sys.stderr)
    sys.exit(128 + number)


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs, and write MACHINE."""
    checkpoints = Path(os.environ.get("CHECKPOINTS", outputs.CHECKPOINTS))
    start = time.time()
    files = outputs.TARGETS, outputs.CHECKPOINT, outputs.HISTORY
    event = outputs.get_csv_path(p.train.event, outputs.LABELS)
    try:
        train(outputs.PREPARED, *files, checkpoints, p, event)
    except torch.OutOfMemoryError as error:
        raise InputError(
            "the GPU's memory is too small: lower train.batch_size or model.max_length"
        ) from error
    if os.environ.get("RANK", "0") == "0":
        outputs.write_json(outputs.MACHINE, describe_machine(time.time() - start))
