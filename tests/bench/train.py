"""Speed of the train stage beside two usual recipes: same data, same epochs, same start.

    python -m tests.bench.train [SOURCE] [--rows N] [--seeds N]

- padded: every tweet padded to 128 tokens, fp32, batches of 16 at random.
- glue: padded to the longest of the batch, fp32, batches of 32 at random, as in transformers'
  run_glue_no_trainer example.
- stage: this project's train stage, learning from the labels alone.
- fastest: the same with `compute.exact: false`, which takes whatever instructions this CPU has.

Each seed trains all of them in turn, so that a slower hour of the machine affects all alike. The
figures are of the steps: neither tokenising nor validation is counted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate.utils import set_seed
from ruamel.yaml import YAML
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup
from transformers.utils import logging

from common.progress import Progress
from stages import params
from stages.params import Params
from stages.prepare.stage import prepare
from stages.shared import base_model
from stages.shared.batches import Tweets
from stages.train.machine import processor

OLD_LENGTH = 128  # tokens


def usual(data: Path, p: Params, batch_size: int, grid: int) -> tuple[float, float]:
    """Fine-tune in fp32 on random batches, padded to multiples of `grid` tokens.

    Returns tweets per second and the test accuracy.
    """
    set_seed(p.train.seed)
    base = base_model.locate(p.model)
    tokens = base_model.tokenizer(base, p.model.max_length)
    tweets = Tweets(pd.read_parquet(data / "train.parquet"), tokens, "train")
    model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    steps = -(-len(tweets) // batch_size) * p.train.epochs
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps)
    model.train()
    start = time.perf_counter()
    for _ in Progress(range(p.train.epochs), desc=f"batches of {batch_size}", unit=" epochs"):
        for rows in torch.split(torch.randperm(len(tweets)), batch_size):
            batch = tweets.batch(rows.numpy(), grid)
            targets = batch.pop("targets").long()
            model(**batch, labels=targets).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    speed = len(tweets) * p.train.epochs / (time.perf_counter() - start)
    return speed, accuracy(model, tokens, data)


def stage(data: Path, folder: Path, p: Params, exact: bool) -> tuple[float, float]:
    """Run the train stage, as its own process; return tweets per second and test accuracy."""
    (folder / "data").mkdir(parents=True)
    (folder / "data/prepared").symlink_to(data)
    (folder / "data/targets.parquet").symlink_to(data / "train.parquet")
    values = p.model_dump()
    values["compute"]["exact"] = exact
    YAML().dump(values, folder / "params.yaml")
    subprocess.run(
        [sys.executable, "-m", "stages", "train"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        check=True,
    )
    rates = pd.read_csv(folder / "models/speed/plots/metrics/tweets_per_second.tsv", sep="\t")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/checkpoint")
    tokens = Tokenizer.from_file(str(folder / "models/checkpoint/tokenizer.json"))
    return statistics.harmonic_mean(rates["tweets_per_second"]), accuracy(model, tokens, data)


@torch.no_grad()
def accuracy(model: torch.nn.Module, tokens: Tokenizer, data: Path) -> float:
    """Return the share of test tweets that a model labels correctly, in fp32."""
    model.eval()
    tweets = Tweets(pd.read_parquet(data / "test.parquet"), tokens, "test")
    right = 0
    for rows in torch.split(torch.from_numpy(tweets.lengths.argsort()), 64):
        batch = tweets.batch(rows.numpy())
        labels = model(batch["input_ids"], batch["attention_mask"]).logits.argmax(1)
        right += int((labels == batch["targets"]).sum())
    return right / len(tweets)


def main() -> None:
    """Measure and print one table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source", nargs="?", default="data/tweets.csv")
    arguments.add_argument("--rows", type=int, default=1000, help="training tweets")
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    p = params.load()
    logging.set_verbosity_error()
    torch.set_num_threads(p.compute.threads)
    results: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        prepare(p.prepare.model_copy(update={"source": options.source}), data)
        tweets = pd.read_parquet(data / "train.parquet")
        tweets.head(options.rows).to_parquet(data / "train.parquet")
        for seed in range(options.seeds):
            recipe = p.train.model_copy(update={"seed": seed, "patience": p.train.epochs})
            q = p.model_copy(update={"train": recipe})
            results["padded"].append(usual(data, q, 16, OLD_LENGTH))
            results["glue"].append(usual(data, q, 32, 1))
            for label, exact in (("stage", True), ("fastest", False)):
                results[label].append(stage(data, Path(name) / f"{label}{seed}", q, exact))
    rows = min(options.rows, len(tweets))
    print(f"on {processor()}")
    print(f"{rows} tweets of {options.source}, {p.train.epochs} epochs, {options.seeds} seeds")
    print(f"{'':8}{'tweets/s':>10}{'x padded':>10}{'x glue':>8}{'accuracy':>10}{'spread':>8}")
    rates = {label: np.array([rate for rate, _ in runs]) for label, runs in results.items()}
    for label, runs in results.items():
        right = [accuracy for _, accuracy in runs]
        rate, padded, glue = (
            np.median(rates[label] / other) for other in (1, rates["padded"], rates["glue"])
        )
        print(f"{label:8}{rate:10.0f}{padded:10.1f}{glue:8.1f}", end="")
        print(f"{np.mean(right):10.4f}{np.ptp(right):8.4f}")


if __name__ == "__main__":
    main()
