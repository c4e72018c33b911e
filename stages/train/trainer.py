"""Trains a model one batch at a time, on CPUs or GPUs."""

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # reproducible sums on a GPU

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import (
    gather_object,
    send_to_device,
    set_seed,
)
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import get_linear_schedule_with_warmup

from common.errors import InputError
from locked.labels import LABELS
from stages.shared import arithmetic
from stages.shared.base_model import configuration
from stages.shared.batches import Batch, Tweets
from stages.train.network import make_network, make_optimizer

if TYPE_CHECKING:
    from stages.params import Compute, Train


class Step(NamedTuple):
    """The figures of one step, over all processes."""

    loss: float  # mean over the rows
    gradient_norm: float  # before clipping
    learning_rate: float  # of the top layer
    rows: int
    is_stopping: bool  # whether any process has received a signal to stop


class Trainer:
    """The model with its optimizer and schedule, distributed over all processes by Accelerate.

    A batch is divided into a share for each process. Each tweet weighs 1 / `batch_size` in the
    gradient, so the number of processes changes the result only by rounding.
    """

    def __init__(self, base: Path, steps: int, recipe: "Train", compute: "Compute") -> None:
        arithmetic.use_threads(compute)
        set_seed(recipe.seed, deterministic=True)
        # Filling takes ten times as long, and only reveals reads of uninitialised memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # untyped
        self.accelerator = Accelerator(
            mixed_precision=choose_precision(recipe.precision, compute.exact, configuration(base)),
            # Otherwise each of several processes on CPUs would train alone, and a Mac would use its
            # GPU, whose sums are not reproducible.
            cpu=not torch.cuda.is_available(),
        )
        self.recipe = recipe
        model = make_network(base, recipe)
        optimizer = make_optimizer(model, recipe)
        warmup = int(recipe.warmup * steps)
        self.schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        torch.manual_seed(recipe.seed + self.accelerator.process_index)  # its own dropout

    def share(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return this process's share of the indices of a batch.

        Raises InputError if the batch has fewer rows than there are processes.
        """
        processes = self.accelerator.num_processes
        if len(batch) < processes:
            raise InputError(
                f"train.batch_size: a batch of {len(batch)} cannot be shared by {processes} "
                "processes"
            )
        return batch[self.accelerator.process_index :: processes]

    def step(self, batch: Batch, is_stopping: bool) -> Step:
        """Train on this process's share of a batch; return the figures over all processes."""
        self.model.train()
        rate = float(self.schedule.get_last_lr()[0])
        loss = self._losses(batch).sum()
        # DDP averages the gradients of the processes.
        self.accelerator.backward(loss * self.accelerator.num_processes / self.recipe.batch_size)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # as after an overflow in fp16
            self.schedule.step()
        self.optimizer.zero_grad()
        sums = torch.stack([loss.detach(), *loss.new_tensor([len(batch["targets"]), is_stopping])])
        total, rows, stopping = self.accelerator.reduce(sums).tolist()
        return Step(total / rows, float(norm), rate, int(rows), stopping > 0)

    def _losses(self, batch: Batch) -> torch.Tensor:
        target = batch["targets"].to(self.accelerator.device)
        return cross_entropy(
            self._logits(batch), torch.stack([1 - target, target], 1), reduction="none"
        )

    def _logits(self, batch: Batch) -> torch.Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits: torch.Tensor = self.model(**send_to_device(inputs, self.accelerator.device)).logits
        return logits.float()

    @torch.no_grad()
    def validate(self, tweets: Tweets) -> dict[str, float]:
        """Return loss and accuracy over tweets, which are divided among the processes."""
        self.model.eval()
        scores = torch.zeros(len(tweets), len(LABELS), device=self.accelerator.device)
        own = self.share(tweets.lengths.argsort(kind="stable"))
        size = -(-self.recipe.batch_size // self.accelerator.num_processes)  # as in a step
        for start in range(0, len(own), size):
            rows = own[start : start + size]
            scores[rows] = self._logits(tweets.batch(rows))
        scores = self.accelerator.reduce(scores)
        truth = torch.from_numpy(tweets.targets).to(scores.device, torch.long)
        return {
            "loss": cross_entropy(scores, truth).item(),
            "accuracy": (scores.argmax(1) == truth).float().mean().item(),
        }

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the model's weights, on the CPU."""
        weights = self.accelerator.get_state_dict(self.model)
        return {name: w.detach().to("cpu", copy=True) for name, w in weights.items()}

    def save_pretrained(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """Write the model with these weights in the format of transformers.

        Raises InputError if the weights cannot be written.
        """
        try:
            self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=weights)
        except SafetensorError as error:  # as on a full disk
            raise InputError(f"the weights could not be written: {error}") from error

    def end(self) -> None:
        """Wait for the other processes and leave their group; call no other method after it."""
        self.accelerator.wait_for_everyone()
        # The model must be deleted before the process group; otherwise the destructor of the group
        # may wait for ever (https://github.com/pytorch/pytorch/issues/56297).
        del self.model, self.optimizer, self.schedule
        self.accelerator.free_memory()
        gc.collect()
        self.accelerator.end_training()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines the next steps; every process must call it."""
        scaler = self.accelerator.scaler
        return {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "random": gather_object([_random_state()]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        _set_random_state(state["random"][self.accelerator.process_index])


def choose_precision(param: str, exact: bool, config: Mapping[str, Any]) -> str:
    """Return Accelerate's name of the precision `param`; `auto` is the fastest that is allowed.

    `exact` is `compute.exact`, `config` the base model's config.json.

    Raises InputError if the precision is not available on this machine or not exact.
    """
    if param == "auto":
        if torch.cuda.is_available():
            # DeBERTa's attention overflows in fp16.
            half = "fp32" if "deberta" in config.get("model_type", "") else "fp16"
            param = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else half
        else:
            capabilities = torch.cpu.get_capabilities()
            is_fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
            param = "bf16" if is_fast and not exact else "fp32"
    elif param == "fp16" and not torch.cuda.is_available():
        raise InputError("train.precision: fp16 needs a GPU; on a CPU take bf16 or fp32")
    elif param == "bf16" and exact and not torch.cuda.is_available():
        raise InputError(
            "train.precision: bf16 differs between kinds of CPU; take fp32, or compute.exact: false"
        )
    return "no" if param == "fp32" else param


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])
