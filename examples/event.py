"""An event unfolds: a model meets tweets of a world that it has not seen, and is adapted to it.

    python -m examples.event [--output monitor-demo]

A server answers usual tweets, and then those in event.csv: a volcano on an island, told by people
who do not shout. They were written and selected so that the model misses some: their figures say
nothing of other events. The monitor says how wrong the answers may be, 40 labels adapt the model,
the server takes the adapted model into use while it answers, and the monitor reports again. Run it
in the repository, after `make repro`.
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
from locked.manifest import MANIFEST, read_manifest
from monitor.__main__ import call
from monitor.report import load
from stages import params
from stages.lock.stage import lock
from stages.shared import outputs

EVENT = Path(__file__).with_suffix(".csv")
USUAL = 60  # tweets of the corpus
LABELLED = 40  # tweets
TOGETHER = 20  # tweets in a request
READY = 120  # seconds
KEY = "a-key-for-the-demo-only"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy to this machine


def traffic() -> pd.DataFrame:
    """Return the tweets in the order in which they are sent: text, label."""
    usual = pq.read_table(outputs.PREPARED / "test.parquet", columns=["text", "target"]).to_pandas()
    usual = usual.head(USUAL)
    usual["label"] = usual["target"].map(dict(enumerate(LABELS)))
    tweets: pd.DataFrame = pd.concat([usual[["text", "label"]], pd.read_csv(EVENT)])
    return tweets.reset_index(drop=True)


@dataclass
class Server:
    """A server on this machine, and the number of requests that failed."""

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

    def ask(self, tweets: pd.DataFrame) -> pd.DataFrame:
        """Send tweets; return them with the id, label and model of each answer."""
        answers = []
        for start in range(0, len(tweets), TOGETHER):
            texts = tweets["text"][start : start + TOGETHER].tolist()
            answer = self.post("/predict", {"instances": texts})
            answers += [one | {"model": answer["model"]} for one in answer["predictions"]]
        answered = pd.DataFrame(answers)
        return tweets.assign(id=answered["id"], answer=answered["label"], model=answered["model"])

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Send requests until the end of the block; count those that fail."""
        done = threading.Event()

        def send() -> None:
            while not done.is_set():
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
            done.set()
            for thread in threads:
                thread.join()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve `model` in a folder until the end of the block, and log its answers there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with OPENER.open(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise InputError(f"the server does not start: {log.read_text().strip().splitlines()[-1:]}")


def _wait_until_logged(logs: Path, answers: int) -> None:
    """Wait for the server's log, which it writes a moment after it has answered."""
    deadline = time.monotonic() + READY
    while sum(len(file.read_bytes().splitlines()) for file in logs.glob("*.jsonl")) < answers:
        if time.monotonic() > deadline:
            raise InputError(f"{logs}: the server has not logged its {answers} answers")
        time.sleep(0.1)


def monitor(*arguments: object) -> None:
    """Run a command of the monitor, and show it."""
    print("\n$ python -m monitor", *arguments, flush=True)
    call([*map(str, arguments)])


def accuracy(answered: pd.DataFrame) -> float:
    """Return the share of right answers."""
    return float((answered["answer"] == answered["label"]).mean())


def unfold(folder: Path) -> str:
    """Let the event unfold in a folder; return what the adaptation gained."""
    shutil.copytree(outputs.CLASSIFIER, folder / "model")
    shutil.copytree(outputs.CLASSIFIER, folder / "before")
    tweets, logs, sample = traffic(), folder / "logs", folder / "sample.csv"
    labelled, adapted = folder / "sample-labelled.csv", folder / "after"
    general = ("--model", folder / "before")
    with serving(folder) as server:
        before = server.ask(tweets)
        _wait_until_logged(logs, len(tweets))
        monitor(logs, *general, "--output", folder / "without-labels")
        print(f"In truth {accuracy(before):.3f} of the {len(before)} answers are right.")
        monitor("review", logs, *general, "--n", LABELLED, "--output", sample)
        drawn = pd.read_csv(sample, dtype=str).drop(columns=["label", "text"])
        drawn.merge(before[["id", "text", "label"]]).to_csv(labelled, index=False)
        print(f"{labelled}: the labels that the page would save, prepared for this demo")
        monitor(logs, *general, "--reviewed", labelled, "--output", folder / "labels")

        start = time.monotonic()
        paths = (outputs.NETWORK, outputs.PREPARED, outputs.GROUPS, labelled, adapted)
        lock(*paths, params.load())
        adaptation = read_manifest(adapted / MANIFEST).adaptation
        with server.under_load():
            with new_folder(folder / "model") as model:
                shutil.copytree(adapted, model, dirs_exist_ok=True)
            server.post("/reload", {})
        seconds = time.monotonic() - start
        step = adaptation.step if adaptation else "none"
        print(f"\n{LABELLED} labels, step {step!r}: in use after {seconds:.0f} s")
        print(f"{server.requests} requests during the swap, {server.failures} failed")
        after = server.ask(tweets)
    judging = folder / "other-labels.csv"
    fitted = set(pd.read_csv(labelled)["text"])
    others = after[~after["text"].isin(fitted)]
    others[["id", "text", "label"]].assign(drawn="random").to_csv(judging, index=False)
    monitor(logs, "--model", adapted, folder / "before", "--reviewed", judging, "--output", folder)
    same = before["text"].isin(fitted)
    new = ~same & (before.index >= USUAL)
    return (
        f"Gained: {accuracy(before[new]):.3f} -> {accuracy(after[new]):.3f} right on the event's "
        f"{new.sum()} tweets that had no label in the adaptation; on all {len(before)} tweets "
        f"{accuracy(before):.3f} -> {accuracy(after):.3f}; {LABELLED} labels, {seconds:.0f} s."
    )


def main() -> None:
    """Run the demo in a new folder."""
    parser = argparse.ArgumentParser(prog="python -m examples.event", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--output", type=Path, default=Path("monitor-demo"))
    output = parser.parse_args().output
    load(outputs.CLASSIFIER)
    if output.exists():
        if not (output / "sample.html").exists():
            raise InputError(f"{output} is no folder of a demo: name another one with --output")
        shutil.rmtree(output)
    output.mkdir(parents=True)
    print(f"\n{unfold(output)}")


if __name__ == "__main__":
    run(main)
