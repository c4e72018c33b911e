"""Simulate a new event: serve and monitor the model, and train it on labels of the event too.

    python -m examples.event [--output monitor-demo]

A server answers tweets of the test split, and then those in event.csv: a volcano on an island,
described in calm words. The tweets were written and selected so that the model misses some, so
their figures say nothing about other events. The monitor estimates the accuracy, the model is
trained again with 50 labels, the server loads the new model while it answers requests, and the
monitor reports again. Run it in the repository, after `make repro`.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from common.atomic import new_folder
from common.errors import InputError, run
from locked.labels import LABELS
from monitor.__main__ import call
from monitor.report import load
from stages import params
from stages.export.stage import export
from stages.shared import outputs
from stages.train.stage import train

EVENT = Path(__file__).with_suffix(".csv")
CORPUS_TWEETS = 60  # of the test split
LABELLED_TWEETS = 50
REQUEST_TWEETS = 20
TIMEOUT = 120  # seconds
KEY = "a-key-for-the-demo-only"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine


def load_tweets() -> pd.DataFrame:
    """Return the tweets in the order in which they are sent: text, label."""
    corpus = pq.read_table(
        outputs.PREPARED / "test.parquet", columns=["text", "target"]
    ).to_pandas()
    corpus = corpus.head(CORPUS_TWEETS)
    corpus["label"] = corpus["target"].map(dict(enumerate(LABELS)))
    tweets: pd.DataFrame = pd.concat([corpus[["text", "label"]], pd.read_csv(EVENT)])
    return tweets.reset_index(drop=True)


@dataclass
class Server:
    """A server on this machine; it counts the requests of `send_load` and their failures."""

    url: str
    failures: int = 0
    requests: int = 0

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send JSON; return the answer."""
        headers = {"Content-Type": "application/json", "X-API-Key": KEY}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - our own
        with OPENER.open(request, timeout=60) as answer:
            return dict(json.load(answer))

    def predict(self, tweets: pd.DataFrame) -> pd.DataFrame:
        """Send tweets; return them with the id and label of each answer."""
        answers = []
        for start in range(0, len(tweets), REQUEST_TWEETS):
            texts = tweets["text"][start : start + REQUEST_TWEETS].tolist()
            answer = self.post("/predict", {"instances": texts})
            answers += answer["predictions"]
        table = pd.DataFrame(answers)
        return tweets.assign(id=table["id"], answer=table["label"])

    @contextmanager
    def send_load(self) -> Iterator[None]:
        """Send requests until the end of the block; count those that fail."""
        end = threading.Event()

        def send() -> None:
            while not end.is_set():
                self.requests += 1
                try:
                    self.post("/predict", {"text": "the ferry is late again"})
                except OSError:
                    self.failures += 1

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            end.set()
            for thread in threads:
                thread.join()


@contextmanager
def serve_model(folder: Path) -> Iterator[Server]:
    """Serve the model in `folder/model` until the end of the block, and log its answers there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        "PORT": str(port),
        "MODEL_URI": str(folder / "model"),
        "PREDICTION_LOG": str(folder / "logs"),
        "PREDICTION_LOG_KEY": KEY,
        "LOG_TEXT": "1",
        "ADMIN_KEY": KEY,
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve"],
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Server(f"http://127.0.0.1:{port}")
        _wait_until_ready(server.url, process, folder / "server.log")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with OPENER.open(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise InputError(f"the server does not start: {log.read_text().strip().splitlines()[-1:]}")


def _wait_until_logged(logs: Path, answers: int) -> None:
    """Wait until the server, which logs after it has answered, has logged all answers."""
    deadline = time.monotonic() + TIMEOUT
    while sum(len(file.read_bytes().splitlines()) for file in logs.glob("*.jsonl")) < answers:
        if time.monotonic() > deadline:
            raise InputError(f"{logs}: the server has not logged its {answers} answers")
        time.sleep(0.1)


def monitor(*arguments: object) -> None:
    """Print and run a command of the monitor."""
    print("\n$ python -m monitor", *arguments, flush=True)
    call([*map(str, arguments)])


def adapt(labels: Path, folder: Path, model: Path) -> None:
    """Train on the corpus and on labelled tweets; write the locked model to the folder `model`."""
    p = params.load()
    # Exact arithmetic takes longer, and nobody compares this model's bytes.
    p = p.model_copy(update={"compute": p.compute.model_copy(update={"exact": False})})
    checkpoint, history, checkpoints = (
        folder / name for name in ("checkpoint", "training", "checkpoints")
    )
    train(outputs.PREPARED, outputs.TARGETS, checkpoint, history, checkpoints, p, labels)
    export(checkpoint, outputs.PREPARED, outputs.GROUPS, model, p, labels)


def compute_accuracy(tweets: pd.DataFrame) -> float:
    """Return the share of right answers."""
    return float((tweets["answer"] == tweets["label"]).mean())


def simulate(folder: Path) -> str:
    """Simulate the event in a folder; return a text on the gain of the adaptation."""
    old_model, new_model = folder / "before", folder / "after"
    shutil.copytree(outputs.CLASSIFIER, folder / "model")
    shutil.copytree(outputs.CLASSIFIER, old_model)
    tweets, logs, sample = load_tweets(), folder / "logs", folder / "sample.csv"
    labelled, other_labels = folder / "sample-labelled.csv", folder / "other-labels.csv"
    event_labels = folder / "event-labels.csv"
    with serve_model(folder) as server:
        before = server.predict(tweets)
        _wait_until_logged(logs, len(tweets))
        monitor(logs, "--model", old_model, "--output", folder / "without-labels")
        print(f"True accuracy: {compute_accuracy(before):.3f} of {len(before)} answers are right.")
        arguments = ("--model", old_model, "--n", LABELLED_TWEETS, "--output", sample)
        monitor("review", logs, *arguments)
        rows = pd.read_csv(sample, dtype=str).drop(columns=["label", "text"])
        rows.merge(before[["id", "text", "label"]]).to_csv(labelled, index=False)
        print(f"{labelled}: the labels that a reviewer would save, prepared for this demo")
        monitor(logs, "--model", old_model, "--reviewed", labelled, "--output", folder / "labels")

        start = time.monotonic()
        labels = pd.read_csv(labelled)
        labels = labels[~labels["text"].isin(tweets["text"].head(CORPUS_TWEETS))]
        labels.to_csv(event_labels, index=False)
        print(f"\n{event_labels}: the {len(labels)} labels without tweets of the test split")
        adapt(event_labels, folder, new_model)
        with server.send_load():
            with new_folder(folder / "model") as model:
                shutil.copytree(new_model, model, dirs_exist_ok=True)
            server.post("/reload", {})
        seconds = time.monotonic() - start
        print(f"\nTrained on {len(labels)} labels too: in use after {seconds:.0f} s")
        print(f"{server.requests} requests during the swap, {server.failures} failed")
        after = server.predict(tweets)
    learnt_texts = set(pd.read_csv(labelled)["text"])
    others = after[~after["text"].isin(learnt_texts)]
    others[["id", "text", "label"]].to_csv(other_labels, index=False)
    monitor(logs, "--model", new_model, "--reviewed", other_labels, "--output", folder)
    is_new = ~before["text"].isin(learnt_texts) & (before.index >= CORPUS_TWEETS)
    return (
        f"Accuracy before and after: {compute_accuracy(before[is_new]):.3f} -> "
        f"{compute_accuracy(after[is_new]):.3f} on the event's {is_new.sum()} tweets without a "
        f"label, {compute_accuracy(before):.3f} -> {compute_accuracy(after):.3f} on all "
        f"{len(before)} tweets; {LABELLED_TWEETS} labels, {seconds:.0f} s."
    )


def main() -> None:
    """Run the demo in a new folder."""
    parser = argparse.ArgumentParser(prog="python -m examples.event", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    folder = Path("monitor-demo")
    parser.add_argument("--output", type=Path, default=folder, help=f"default: {folder}")
    output = parser.parse_args().output
    load(outputs.CLASSIFIER)
    if output.exists():
        if not (output / "sample.html").exists():
            raise InputError(
                f"{output} is not the output of a demo. Choose another folder with --output"
            )
        shutil.rmtree(output)
    output.mkdir(parents=True)
    print(f"\n{simulate(output)}")


if __name__ == "__main__":
    run(main)
