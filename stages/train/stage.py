"""Prepared tweets -> fine-tuned checkpoint and its learning curves."""

import functools
import math
import os
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from accelerate.utils import broadcast_object_list
from torch.profiler import profile, schedule

from common.atomic import new_file, new_folder
from common.errors import InputError
from common.progress import Progress
from stages.shared import base_model, tokenizer
from stages.shared.batches import Tweets, batches_of, collate
from stages.shared.outputs import (
    CHECKPOINT,
    CHECKPOINTS,
    HISTORY,
    MACHINE,
    PREPARED,
    TARGETS,
    write_json,
)
from stages.shared.tweets import read_tweets
from stages.train.checkpoints import Checkpoints, noted_signals
from stages.train.curves import Curves
from stages.train.learner import Learner
from stages.train.machine import machine
from stages.train.params import Train

if TYPE_CHECKING:
    from stages.params import Params

EXPLODED = 5.0  # mean cross-entropy of RECENT steps, in nats; a guess has 0.69
RECENT = 10
PROFILED = {"wait": 5, "warmup": 2, "active": 5}  # steps


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 1  # the one under way
    batch: int = 0  # learnt batches of this epoch
    step: int = 0  # learnt batches of all epochs
    best: dict[str, float] = field(default_factory=lambda: {"loss": math.inf})
    recent: list[float] = field(default_factory=list)  # losses of the last steps


def train(
    data: Path, targets: Path, output: Path, history: Path, checkpoints: Path, p: "Params"
) -> dict[str, float]:
    """Fine-tune the base model; return the best epoch's validation metrics.

    Writes the weights of the epoch with the lowest validation loss, the configuration and
    tokenizer.json to `output`, and learning curves to `history` (beside it the speed and, where
    asked for, a profile). A run that was ended on its way goes on from its last checkpoint and
    ends with the same bytes.

    Args:
        data: folder of {train,validation}.parquet.
        targets: Parquet file with the `target` of each training tweet, in their order.
        output: folder of the checkpoint to make; it appears only when complete.
        history: folder of the curves to make (DVCLive).
        checkpoints: where runs under way keep their checkpoints.
        p: all params; `compute`, `model`, `train` and `runtime` are read.

    Raises:
        InputError: the base model is not the pinned one, the targets are those of other tweets,
            or the training diverges.
        SystemExit: SIGTERM or SIGINT came. A checkpoint is saved; the status is 128 + the signal.

    """
    base = base_model.locate(p.model)
    tokens = tokenizer.build(base, p.model.max_length)
    locked_tokenizer = tokens.to_str(pretty=True)
    pad_id = dict(tokens.padding or {})["pad_id"]
    pad = functools.partial(collate, pad_id=pad_id)
    tokens.no_padding()
    labelled, taught = read_tweets(data / "train.parquet"), read_tweets(targets)
    if not labelled["id"].equals(taught["id"]):
        raise InputError(
            f"{targets} has other tweets than {data / 'train.parquet'}: run `dvc repro`"
        )
    tweets = Tweets(labelled.assign(target=taught["target"]), tokens, "train")
    unseen = Tweets(read_tweets(data / "validation.parquet"), tokens, "validation")
    order = functools.partial(batches_of, tweets.lengths, p.train.batch_size, p.train.seed)
    learner = Learner(base, len(order(1)) * p.train.epochs, p.train, p.compute)

    store = Checkpoints(
        checkpoints,
        {
            "params": p.model_dump(include={"compute", "model", "train"}),
            "hardware": learner.hardware(),
        },
        [
            data / "train.parquet",
            targets,
            data / "validation.parquet",
            *(base / name for name in base_model.FILES.values()),
        ],
    )
    state = broadcast_object_list([store.load() if learner.is_main else None])[0]
    at = Position(**state["position"]) if state else Position()
    best_weights = state["best_weights"] if state else {}
    if state:
        learner.load_state_dict(state["learner"])
    else:
        longest = tweets.lengths.argsort()[-max(map(len, order(1))) :]
        learner.fit_into_memory(pad([tweets[i] for i in learner.share(longest)]))

    with (
        Curves(history, p, learner.is_main, state["curves"] if state else None) as curves,
        noted_signals() as signals,
        _profiler(p, history, learner.is_main) as profiler,
    ):

        def save() -> bool:
            whole = {
                "position": asdict(at),
                "best_weights": best_weights,
                "learner": learner.state_dict(),
                "curves": curves.state(),
            }
            return not learner.is_main or store.save(at.step, whole)

        while at.epoch <= p.train.epochs and not _hopeless(at, p.train.patience):
            batches = [learner.share(batch) for batch in order(at.epoch)]
            with Progress(
                desc=f"train: epoch {at.epoch}/{p.train.epochs}",
                total=len(tweets),
                initial=sum(map(len, order(at.epoch)[: at.batch])),
                unit=" tweets",
            ) as progress:
                for rows in batches[at.batch :]:
                    began = time.perf_counter()
                    learnt = learner.step(pad([tweets[i] for i in rows]), leaving=bool(signals))
                    at.step, at.batch = at.step + 1, at.batch + 1
                    at.recent = [*at.recent[1 - RECENT :], learnt.loss]
                    _check_converging(at, p.train)
                    curves.log(
                        at.step,
                        {
                            "train/loss": learnt.loss,
                            "train/learning_rate": learnt.learning_rate,
                            "train/gradient_norm": learnt.gradient_norm,
                        },
                    )
                    curves.log_speed(at.step, learnt.rows / (time.perf_counter() - began))
                    progress.set_postfix(loss=f"{learnt.loss:.3f}", refresh=False)
                    progress.update(learnt.rows)
                    if learnt.leaving:
                        _leave(signals[0] if signals else signal.SIGTERM, at.step, save())
                    if at.step % p.runtime.checkpoint_steps == 0:
                        save()
                    profiler.step()
            metrics = learner.validate(unseen, pad_id)
            curves.log(at.step, {f"validation/{name}": value for name, value in metrics.items()})
            if learner.is_main:
                print(
                    f"epoch {at.epoch}: validation "
                    + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                )
            if metrics["loss"] < at.best["loss"]:
                at.best = {**metrics, "epoch": at.epoch}
                best_weights = learner.weights()
            at.epoch, at.batch = at.epoch + 1, 0
            save()
        curves.summarise({f"best_{name}": value for name, value in at.best.items()})
        if learner.is_main:
            with new_folder(output) as folder:
                learner.save_pretrained(folder, best_weights)
                (folder / base_model.FILES["tokenizer"]).write_text(
                    locked_tokenizer, encoding="utf-8"
                )
            curves.refer(output)
    if learner.is_main:
        store.clear()
    learner.end()
    return at.best


def _hopeless(at: Position, patience: int) -> bool:
    """Tell whether validation has not got better for too long."""
    return "epoch" in at.best and at.epoch - 1 - at.best["epoch"] >= patience


def _check_converging(at: Position, recipe: Train) -> None:
    loss = sum(at.recent) / len(at.recent)
    if not loss < EXPLODED:  # NaN is not less than anything
        raise InputError(
            f"the training diverged: the loss is {loss:.3g} at step {at.step}; "
            f"try a lower train.lr than {recipe.lr}, or train.precision: fp32"
        )


def _leave(number: int, step: int, saved: bool) -> NoReturn:
    name = signal.Signals(number).name
    goes_on = "saved; the same command goes on"
    outcome = goes_on if saved else "not saved; the next run goes on from an earlier step"
    print(f"train: {name} at step {step}: {outcome}", file=sys.stderr)
    sys.exit(128 + number)


def _profiler(p: "Params", history: Path, on: bool) -> AbstractContextManager[Any]:
    """Return what traces some early steps for chrome://tracing, or does nothing."""
    if not (p.runtime.profile and on):
        return nullcontext(SimpleNamespace(step=lambda: None))
    # An experiment may run in a folder that DVC deletes; its trace stays in the repository.
    folder = Path(os.environ.get("DVC_ROOT", "")) / history.with_name("profile")
    name = os.environ.get("DVC_EXP_NAME", "trace")

    def write(traced: profile) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(folder / f"{name}.json") as file:
            traced.export_chrome_trace(str(file))

    return profile(schedule=schedule(**PROFILED, repeat=1), on_trace_ready=write)


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it."""
    checkpoints = Path(os.environ.get("CHECKPOINTS", CHECKPOINTS))
    began = time.time()
    train(PREPARED, TARGETS, CHECKPOINT, HISTORY, checkpoints, p)
    if os.environ.get("RANK", "0") == "0":
        write_json(MACHINE, machine(time.time() - began))
