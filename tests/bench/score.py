"""Speed and memory of scoring files, beside the bare engine and a usual loop.

    python -m tests.bench.score [ROWS]

The baseline is Classifier.probabilities, in this process, on the same texts in blocks of 10 000: no
file is read, none written. It is measured first and last, so that a change of the machine shows.

- score: `python -m score` with a thread a core, from start to end.
- two processes: two of them with one thread each, on half of the files each.
- Beam: two workers of Apache Beam, if BEAM_PYTHON names a Python that has it.
- loop: transformers' pipeline() on the checkpoint in fp32, a tweet at a time.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, pipeline
from transformers.utils import logging

from common.progress import Progress
from locked.classifier import Classifier
from locked.cpus import cpus
from score.blocks import ROWS as BLOCK
from stages.train.machine import processor

ROWS = 100_000
FILES = 4
LOOPED = 500  # rows
ARCHIVE = 200_000_000  # tweets
MODEL = Path("models/classifier")
CHECKPOINT = Path("models/checkpoint")
BEAM = "--runner DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"


def generate(folder: Path, rows: int) -> list[str]:
    """Write files of distinct tweets; return their texts."""
    shipped = pd.read_csv("data/tweets.csv", dtype=str, keep_default_na=False)["text"]
    texts = [f"{shipped[i % len(shipped)]} w{i}" for i in range(rows)]
    folder.mkdir()
    table = pd.DataFrame({"id": range(rows), "text": texts})
    for number in range(FILES):
        part = table.iloc[rows * number // FILES : rows * (number + 1) // FILES]
        part.to_csv(folder / f"{number}.csv", index=False)
    return texts


def bare(classifier: Classifier, texts: list[str]) -> float:
    """Return the seconds that the engine takes."""
    start_time = time.perf_counter()
    with Progress(desc="bare engine", total=len(texts), unit=" rows") as progress:
        for start in range(0, len(texts), BLOCK):
            progress.update(len(classifier.probabilities(texts[start : start + BLOCK])))
    return time.perf_counter() - start_time


def start(python: str, inputs: list[Path], out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a process that scores."""
    line = [python, "-m", "score", *map(str, inputs), str(out), f"--model={MODEL}", *options]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL)


def end(start_time: float, *processes: subprocess.Popen[bytes]) -> float:
    """Wait for the end of processes that score; return the seconds since their start."""
    if any([process.wait() for process in processes]):  # noqa: C419 - wait for all
        sys.exit("scoring failed")
    return time.perf_counter() - start_time


def peak(process: subprocess.Popen[bytes]) -> float:
    """Watch a process to its end; return its peak memory in MB, as Linux alone tells it."""
    memory = math.nan
    while process.poll() is None:
        with suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            if match := re.search(r"VmHWM:\s+(\d+) kB", status):
                memory = int(match[1]) / 1024
        time.sleep(0.02)
    return memory


def loop(texts: list[str]) -> float:
    """Return the seconds that a loop over transformers' pipeline takes."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(CHECKPOINT / "tokenizer.json"), pad_token="[PAD]", model_max_length=128
    )
    model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT, dtype=torch.float32)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    start_time = time.perf_counter()
    for text in Progress(texts, desc="loop", unit=" rows"):
        classify(text, truncation=True)
    return time.perf_counter() - start_time


def main() -> None:
    """Measure and print tables."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    logging.set_verbosity_error()
    torch.set_num_threads(cpus())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = generate(folder / "all", rows)
        files = sorted((folder / "all").iterdir())
        classifier = Classifier(MODEL)
        classifier.probabilities(texts[:BLOCK])  # the engine prepares for each shape once
        before = bare(classifier, texts)
        seconds = {}
        began = time.perf_counter()
        process = start(sys.executable, [folder / "all"], folder / "out-all")
        memory = peak(process)
        seconds["score"] = end(began, process)
        began = time.perf_counter()
        halves = [
            start(sys.executable, files[half::2], folder / f"out-{half}", "--threads=1")
            for half in (0, 1)
        ]
        seconds["two processes"] = end(began, *halves)
        if python := os.environ.get("BEAM_PYTHON"):
            began = time.perf_counter()
            beam = start(python, [folder / "all"], folder / "out-beam", *BEAM.split())
            seconds["Beam, two workers"] = end(began, beam)
        after = bare(classifier, texts)
        looped = loop(texts[:LOOPED])
    baseline = 2 * rows / (before + after)
    rates = {"bare engine": baseline} | {name: rows / each for name, each in seconds.items()}
    rates["loop of transformers"] = LOOPED / looped
    print(f"on {processor()}, {cpus()} cores, {classifier.manifest.version}")
    print(f"{rows} distinct tweets; the bare engine took {before:.1f} s first, {after:.1f} s last")
    print(f"{'':24}{'rows/s':>8}{'x bare':>8}{'core-hours of 200 million':>27}")
    for name, rate in rates.items():  # of all cores
        hours = ARCHIVE / rate * cpus() / 3600
        print(f"{name:24}{rate:8.0f}{rate / baseline:8.3f}{hours:27.1f}")
    print(f"score used at most {memory:.0f} MB")


if __name__ == "__main__":
    main()
