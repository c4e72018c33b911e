"""A week of watching in two minutes: a real server, tweets that change half-way, and the page.

    python -m monitor.demo [--model models/classifier] [--output monitor-demo]

The second half of the tweets is of floods alone, and in another style. Some readers judge answers,
rather the wrong ones; then a sample is drawn and labelled. Texts are those of the shipped corpus,
the flood's known to the model: so its accuracy here is no figure to go by.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from common.atomic import new_folder
from common.errors import InputError, run
from common.progress import Progress
from locked.labels import LABELS
from monitor import report
from monitor.verdict import STATUS
from reader.canonical import canonical_texts

CORPUS = Path("data/tweets.csv")
TRAIN = Path("data/prepared/train.parquet")
FLOOD = "flood|tsunami|drown|inundat|deluge|levee|dam$|sinking|sunk"  # in a keyword
HALF = 400  # tweets
TOGETHER = 50  # in one request
CLICKS = {False: 0.5, True: 0.03}  # share of the wrong and of the right answers that are judged
REVIEWED = 200  # tweets
READY = 120  # seconds


def traffic() -> pd.DataFrame:
    """Return the tweets in the order in which they are sent: text, target."""
    try:
        corpus = pd.read_csv(CORPUS, dtype=str, keep_default_na=False)
        train = pq.read_table(TRAIN, columns=["text"])["text"].combine_chunks()
    except OSError as error:
        raise InputError(f"{error}; run it from the repository, after `make repro`") from error
    known = set(canonical_texts(train))
    reads = canonical_texts(corpus["text"])
    usual = corpus[[one not in known for one in reads]]
    usual = usual.sample(min(HALF, len(usual)), random_state=0)
    floods = corpus[corpus["keyword"].str.contains(FLOOD)]
    floods = floods.sample(HALF, replace=True, random_state=0)
    louder = "BREAKING!!! " + floods["text"].str.upper() + " \N{WATER WAVE}"
    both: pd.DataFrame = pd.concat([usual, floods.assign(text=louder)])
    return both[["text", "target"]]


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[str]:
    """Serve a model until the end of the block, with a log of what it answers; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PORT": str(port),
        "MODEL_URI": str(model),
        "PREDICTION_LOG": str(folder / "logs"),
        "PREDICTION_LOG_KEY": "a-key-for-the-demo-only",
        "LOG_TEXT": "1",
        "FEEDBACK_FILE": str(folder / "feedback.jsonl"),
    }
    with (folder / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "serve"],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, server, folder / "server.log")
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()


def ask(url: str, tweets: pd.DataFrame, chance: np.random.Generator) -> dict[str, int]:
    """Send tweets, and verdicts on some answers; return what is true of each answer's id."""
    truth = {}
    for start in Progress(range(0, len(tweets), TOGETHER), desc="asking", unit=" requests"):
        some = tweets[start : start + TOGETHER]
        answer = _post(f"{url}/predict", {"instances": some["text"].tolist()})
        for one, text, target in zip(
            answer["predictions"], some["text"], some["target"].astype(int), strict=True
        ):
            truth[one["id"]] = target
            right = one["label"] == LABELS[target]
            if chance.random() < CLICKS[right]:
                _post(
                    f"{url}/feedback",
                    one | {"text": text, "right": right, "model": answer["model"]},
                )
    return truth


def watch(*arguments: object) -> None:
    """Run a command of the monitor and show what it is."""
    command = ["-m", "monitor", *map(str, arguments)]
    print("$ python", " ".join(command), flush=True)
    done = subprocess.run([sys.executable, *command], check=False)  # noqa: S603 - our own
    if done.returncode not in STATUS.values():
        sys.exit(done.returncode)


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own server's
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
        return dict(json.load(answer))


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise InputError(f"the server does not start: {log.read_text().strip().splitlines()[-1:]}")


def main() -> None:
    """Serve, ask, judge, and report twice: without labels, and with a reviewed sample."""
    parser = argparse.ArgumentParser(prog="python -m monitor.demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, default=Path("models/classifier"))
    parser.add_argument("--output", type=Path, default=Path("monitor-demo"))
    chosen = parser.parse_args()
    report.load(chosen.model)
    if chosen.output.exists() and not (chosen.output / "report.html").exists():
        raise InputError(f"{chosen.output} holds something else than a demo: name another folder")
    tweets = traffic()
    with new_folder(chosen.output) as folder, serving(chosen.model, folder.absolute()) as url:
        truth = ask(url, tweets, np.random.default_rng(0))
    logs, sample = chosen.output / "logs", chosen.output / "sample.csv"
    common = (logs, "--model", chosen.model)
    last = ("--feedback", chosen.output / "feedback.jsonl", "--output", chosen.output)
    watch(*common, *last)
    watch("review", *common, "--n", REVIEWED, "--output", sample)
    labelled = pd.read_csv(sample, dtype=str, keep_default_na=False)
    labelled.assign(label=labelled["id"].map(truth)).to_csv(sample, index=False)
    print(f"{sample}: labelled, as the corpus has it")
    watch(*common, "--reviewed", sample, *last)


if __name__ == "__main__":
    run(main)
