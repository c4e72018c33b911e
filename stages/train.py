"""Prepared tweets -> fine-tuned checkpoint and its learning curves."""

import functools
import math
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from dvclive import Live
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    get_linear_schedule_with_warmup,
)
from transformers.utils import logging

from serve.locked import LABELS, TOKENIZER
from stages import base_model, params, tokenizer
from stages.batches import LengthBuckets, Tweets, collate
from stages.io import InputError, new_folder, run
from stages.params import Params, Train
from stages.paths import CHECKPOINT, HISTORY, PREPARED


def train(data: Path, output: Path, history: Path, p: Params) -> dict[str, float]:
    """Fine-tune the base model; return the best epoch's validation metrics.

    Writes the weights of the epoch with the lowest validation loss, the configuration and
    tokenizer.json to `output`, and learning curves to `history` (DVCLive).

    Args:
        data: folder of {train,validation}.parquet.
        output: folder of the checkpoint to make; it appears only when complete.
        history: folder of the curves to make.
        p: all params; `model` and `train` are read.

    Raises:
        InputError: the base model is not the pinned one, or the loss is no longer a number.

    """
    torch.set_num_threads(p.train.threads)
    set_seed(p.train.seed, deterministic=True)
    base = base_model.locate(p.model)
    tokens = tokenizer.build(base, p.model.max_length)
    accelerator = Accelerator(mixed_precision=_precision(p.train.precision))

    locked_tokenizer = tokens.to_str(pretty=True)
    pad = functools.partial(collate, pad_id=dict(tokens.padding or {})["pad_id"])
    tokens.no_padding()
    tweets = Tweets(pd.read_parquet(data / "train.parquet"), tokens)
    unseen = Tweets(pd.read_parquet(data / "validation.parquet"), tokens)
    order = LengthBuckets(tweets, p.train.batch_size, p.train.seed)
    loader = DataLoader(tweets, batch_sampler=order, collate_fn=pad)
    held_out = DataLoader(unseen, batch_size=p.train.batch_size, collate_fn=pad)

    logging.set_verbosity_error()  # the new classifier head is meant to be missing in the base
    logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(
        base, dtype=torch.float32, id2label=dict(enumerate(LABELS)), local_files_only=True
    )
    steps = len(loader) * p.train.epochs
    optimizer = _optimizer(model, p.train)
    schedule = get_linear_schedule_with_warmup(optimizer, int(p.train.warmup * steps), steps)
    model, optimizer, loader, held_out, schedule = accelerator.prepare(
        model, optimizer, loader, held_out, schedule
    )

    best: dict[str, float] = {"loss": math.inf}
    best_weights: dict[str, torch.Tensor] = {}
    with Live(str(history), dvcyaml=None, save_dvc_exp=False) as live:
        for epoch in range(1, p.train.epochs + 1):
            order.set_epoch(epoch)
            model.train()
            progress = tqdm(loader, f"train: epoch {epoch}/{p.train.epochs}", unit=" batches")
            for batch in progress:
                loss = model(**batch).loss
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(model.parameters(), p.train.max_grad_norm)
                rate = schedule.get_last_lr()[0]
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                live.step += 1
                value = _finite(loss.item(), live.step, p.train)
                live.log_metric("train/loss", value)
                live.log_metric("train/learning_rate", rate)
                live.log_metric("train/gradient_norm", float(norm))
                progress.set_postfix(loss=f"{value:.3f}")
            metrics = _validate(accelerator, model, held_out)
            _finite(metrics["loss"], live.step, p.train)
            for name, figure in metrics.items():
                live.log_metric(f"validation/{name}", figure)
            tqdm.write(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
            if metrics["loss"] < best["loss"]:
                best = {**metrics, "epoch": epoch}
                best_weights = {k: v.clone() for k, v in accelerator.get_state_dict(model).items()}
            elif epoch - best["epoch"] >= p.train.patience:
                tqdm.write(f"no better validation loss since epoch {best['epoch']}: stopped")
                break
        for name, figure in best.items():
            live.summary[f"best_{name}"] = figure
        live.make_summary()

    with new_folder(output) as folder:
        accelerator.unwrap_model(model).save_pretrained(folder, state_dict=best_weights)
        (folder / TOKENIZER).write_text(locked_tokenizer, encoding="utf-8")
    return best


def _finite(loss: float, step: int, recipe: Train) -> float:
    if not math.isfinite(loss):
        raise InputError(
            f"the training diverged: the loss is {loss} at step {step}; "
            f"try a lower train.lr than {recipe.lr}, or train.precision: fp32"
        )
    return loss


def _precision(wanted: str) -> str:
    """Name the fastest precision that this hardware computes in, unless one is asked for."""
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        else:
            capabilities = torch.cpu.get_capabilities()
            fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
            wanted = "bf16" if fast else "fp32"
    elif wanted == "fp16" and not torch.cuda.is_available():
        raise InputError("train.precision: fp16 needs a GPU; on a CPU take bf16 or fp32")
    return "no" if wanted == "fp32" else wanted


def _optimizer(model: PreTrainedModel, recipe: Train) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation weights are not decayed."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


@torch.no_grad()
def _validate(
    accelerator: Accelerator, model: PreTrainedModel, held_out: DataLoader[dict[str, torch.Tensor]]
) -> dict[str, float]:
    model.eval()
    logits, labels = [], []
    for batch in held_out:
        outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        gathered = accelerator.gather_for_metrics((outputs.logits.float(), batch["labels"]))
        logits.append(gathered[0])
        labels.append(gathered[1])
    scores, truth = torch.cat(logits), torch.cat(labels)
    return {
        "loss": torch.nn.functional.cross_entropy(scores, truth).item(),
        "accuracy": (scores.argmax(1) == truth).float().mean().item(),
    }


def main() -> None:
    """Run the stage as params.yaml has it."""
    train(PREPARED, CHECKPOINT, HISTORY, params.load())


if __name__ == "__main__":
    run(main)
