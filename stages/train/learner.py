"""A model that learns one batch at a time, on CPUs or GPUs."""

import gc
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # exact sums on a GPU

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import find_executable_batch_size, gather_object, set_seed
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy

from common.errors import InputError
from locked.labels import LABELS
from stages.shared import exact
from stages.shared.base_model import configuration
from stages.shared.batches import Batch, Tweets, collate
from stages.shared.params import Compute
from stages.train.network import network
from stages.train.optimizer import adamw, linear_schedule
from stages.train.params import Train
from stages.train.precision import precision


class Learnt(NamedTuple):
    """What a step came to, over all processes."""

    loss: float  # mean over the rows
    gradient_norm: float  # before clipping
    learning_rate: float  # of the top layer
    rows: int
    leaving: bool  # whether any process wants to end


class Learner:
    """The model with its optimizer and schedule, shared out over all processes by Accelerate.

    A batch is that of all processes together: each takes its share, in parts where it is too
    large for the memory. Every tweet weighs 1 / `batch_size` in the gradient, so that neither the
    number of processes nor that of the parts changes what is learnt.
    """

    def __init__(self, base: Path, steps: int, recipe: Train, compute: Compute) -> None:
        exact.use_threads(compute)
        set_seed(recipe.seed, deterministic=True)
        # Only shows up reads of memory that was never written, at a tenth of the time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # untyped
        self.accelerator = Accelerator(
            mixed_precision=precision(recipe.precision, compute.exact, configuration(base)),
            # Without this, each of several processes on CPUs would train alone, and a Mac would
            # take its GPU, where sums are not repeatable.
            cpu=not torch.cuda.is_available(),
        )
        self.recipe = recipe
        self.part = recipe.batch_size  # rows that go through the model at once
        model = network(base, recipe)
        optimizer = adamw(model, recipe)
        self.schedule = linear_schedule(optimizer, recipe, steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        torch.manual_seed(recipe.seed + self.accelerator.process_index)  # each its own dropout

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    def hardware(self) -> dict[str, Any]:
        """Return what the result follows from beside data, code and params."""
        return {
            "device": self.accelerator.device.type,
            "precision": self.accelerator.mixed_precision,
            "processes": self.accelerator.num_processes,
        }

    def share(self, batch: npt.NDArray[np.int64]) -> list[int]:
        """Return this process's share of a batch's indices."""
        processes = self.accelerator.num_processes
        if len(batch) < processes:
            raise InputError(
                f"train.batch_size: a batch of {len(batch)} cannot be shared by {processes} "
                f"processes"
            )
        indices: list[int] = batch[self.accelerator.process_index :: processes].tolist()
        return indices

    def step(self, batch: Batch, leaving: bool) -> Learnt:
        """Learn from a batch, of which this is the process's share."""
        self.model.train()
        rate = float(self.schedule.get_last_lr()[0])
        loss = self._backward(batch)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # as after an overflow in fp16
            self.schedule.step()
        self.optimizer.zero_grad()
        sums = torch.stack([loss, *loss.new_tensor([len(batch["targets"]), leaving])])
        total, rows, leaves = self.accelerator.reduce(sums).tolist()
        return Learnt(total / rows, float(norm), rate, int(rows), leaves > 0)

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Add the gradient of a batch, part by part; return the sum of its losses."""
        parts = [
            {name: values[start : start + self.part] for name, values in batch.items()}
            for start in range(0, len(batch["targets"]), self.part)
        ]
        scale = self.accelerator.num_processes / self.recipe.batch_size  # DDP takes the mean
        total = torch.zeros((), device=self.accelerator.device)
        for part in parts:
            last = part is parts[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = self._losses(part).sum()
                self.accelerator.backward(loss * scale)
            total += loss.detach()
        return total

    def _losses(self, batch: Batch) -> torch.Tensor:
        target = batch["targets"].to(self.accelerator.device)
        return cross_entropy(
            self._logits(batch), torch.stack([1 - target, target], 1), reduction="none"
        )

    def _logits(self, batch: Batch) -> torch.Tensor:
        device = self.accelerator.device
        logits: torch.Tensor = self.model(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].to(device),
        ).logits
        return logits.float()

    def fit_into_memory(self, batch: Batch) -> None:
        """Halve the parts of a batch until this one, the longest, can be learnt from.

        All processes take the smallest part that any of them needs.

        Raises:
            InputError: not even one row fits.

        """
        self.model.train()
        random = _random_state()
        # As large as what the optimizer will hold, and is not there yet.
        weights = [w for w in self.model.parameters() if w.requires_grad]
        ballast = [torch.empty_like(w) for w in weights for _ in range(2)]

        def halve() -> int:
            self.part //= 2
            if self.part == 0:
                raise InputError("not even one tweet at a time fits into memory with this model")
            return self.part

        def attempt(rows: int) -> None:
            self.optimizer.zero_grad()
            self.part = rows
            with self.accelerator.no_sync(self.model):
                self._backward({name: values[:rows] for name, values in batch.items()})

        find_executable_batch_size(attempt, len(batch["targets"]), halve)()
        del ballast
        self.optimizer.zero_grad()
        if self.part == len(batch["targets"]):  # all of it, and others' shares may be larger
            self.part = self.recipe.batch_size
        self.part = min(gather_object([self.part]))
        _set_random_state(random)

    @torch.no_grad()
    def validate(self, tweets: Tweets, pad_id: int) -> dict[str, float]:
        """Return the loss and accuracy over tweets, which all processes share out."""
        self.model.eval()
        scores = torch.zeros(len(tweets), len(LABELS), device=self.accelerator.device)
        mine = self.share(tweets.lengths.argsort(kind="stable"))
        tried = -(-self.recipe.batch_size // self.accelerator.num_processes)
        size = min(self.part, tried)  # rows that are known to fit into memory
        for start in range(0, len(mine), size):
            rows = mine[start : start + size]
            batch = collate([tweets[row] for row in rows], pad_id)
            scores[rows] = self._logits(batch)
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
        """Write the model with the given weights, as transformers reads it."""
        try:
            self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=weights)
        except SafetensorError as error:  # as where the disk is full
            raise InputError(f"the weights could not be written: {error}") from error

    def end(self) -> None:
        """Wait for the other processes and let go of them; no other method may be called then."""
        self.accelerator.wait_for_everyone()
        # The model must go before the group of processes: as the last to hold that, its destructor
        # may wait for ever (https://github.com/pytorch/pytorch/issues/56297).
        del self.model, self.optimizer, self.schedule
        self.accelerator.free_memory()
        gc.collect()
        self.accelerator.end_training()

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps follow from; every process must call it."""
        scaler = self.accelerator.scaler
        return {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "random": gather_object([_random_state()]),
            "part": self.part,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        _set_random_state(state["random"][self.accelerator.process_index])
        self.part = state["part"]


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])
