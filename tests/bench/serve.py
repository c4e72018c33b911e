"""Speed of the server beside the design it replaces and a rival written by hand.

    python -m tests.bench.serve [SOURCE] [--rounds N] [--seconds S]

- ours: `python -m serve`.
- logging: the same with a prediction log.
- replaced, by hand: see tests/bench/rivals.py.

All answer from the same trained weights. Each round starts them one after another, so that a
slower minute of the machine affects all alike; wrk sends the requests. The engines are measured
alone, in this process, each with its differences to the reference.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd

from common.progress import Progress
from locked import engines
from locked.classifier import Classifier
from locked.cpus import cpus
from stages.params import Compute
from stages.shared import arithmetic
from stages.shared.onnx_reference import evaluator
from stages.train.machine import processor

SERVERS = {
    "ours": "serve",
    "logging": "serve",
    "replaced": "tests.bench.rivals replaced",
    "by hand": "tests.bench.rivals by-hand",
}
BULK = 256  # tweets
LOADS = (("single", 1), ("single", 8), ("single", 64), ("single", 256), ("bulk", 2))  # connections
AT_64 = 2  # of LOADS
MODEL = Path("models/classifier")
SCRIPT = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1; return wrk.format(nil, "/predict", nil, bodies[n % #bodies + 1]) end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %f %f %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Load(NamedTuple):
    """Figures of wrk."""

    rate: float  # requests per second
    p50: float  # milliseconds
    p99: float  # milliseconds
    errors: float


def load(script: Path, port: int, connections: int, seconds: int) -> Load:
    """Send requests to a server for some seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout=30", f"-s{script}"]
    command += [f"http://127.0.0.1:{port}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    assert match, output
    requests, microseconds, p50, p99, errors = map(float, match.groups())
    return Load(requests / microseconds * 1e6, p50 / 1e3, p99 / 1e3, errors)


def wait_for_answer(port: int, text: str, process: subprocess.Popen[bytes]) -> None:
    """Repeat a request until the server answers."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{port}/predict"
            if httpx.post(url, json={"text": text}).status_code == 200:
                return
        time.sleep(0.02)
    raise SystemExit("error: a server gave no answer")


def measure(name: str, folder: Path, text: str, seconds: int) -> list[Load]:
    """Start a server and send it every load."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "PORT": str(port),
        "MODEL_URI": str(MODEL),
        "CHECKPOINT": "models/checkpoint",
        "LOG_LEVEL": "warning",
        "MAX_QUEUE": "100000",
    }
    if name == "logging":
        environment |= {"PREDICTION_LOG": str(folder / "log"), "PREDICTION_LOG_KEY": "k" * 16}
    command = [sys.executable, "-m", *SERVERS[name].split()]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    try:
        wait_for_answer(port, text, process)
        load(folder / "single.lua", port, 64, seconds)  # a warm-up
        return [load(folder / f"{kind}.lua", port, number, seconds) for kind, number in LOADS]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def engine_speed(classifier: Classifier, texts: list[str], seconds: float) -> float:
    """Return tweets per second of an engine that gets BULK of them at a time."""
    classifier.probabilities(texts)
    start, tweets = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        first = tweets % (len(texts) - BULK + 1)
        classifier.probabilities(texts[first : first + BULK])
        tweets += BULK
    return tweets / (time.perf_counter() - start)


def write_scripts(texts: list[str], folder: Path) -> None:
    """Write wrk's scripts: one tweet, or BULK of them, in a request."""
    instances = [{"text": text} for text in texts]
    parts = [instances[start : start + BULK] for start in range(0, len(texts), BULK)]
    bodies: dict[str, list[Any]] = {"single": instances}
    bodies["bulk"] = [{"instances": part} for part in parts]
    for kind, lines in bodies.items():
        path = folder / f"{kind}.txt"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        path.with_suffix(".lua").write_text(SCRIPT.replace("BODIES", str(path)))


def main() -> None:
    """Measure and print the tables: medians over the rounds."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source", nargs="?", default="data/tweets.csv")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=4, help="of each load")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is needed: apt-get install wrk")
    texts = pd.read_csv(options.source)["text"].sample(1024, random_state=0).tolist()
    arithmetic.use_threads(Compute(exact=False, threads=1))  # the reference has its own
    truth = Classifier(MODEL, engine=evaluator).probabilities(texts)
    names: list[Any] = sorted(engines.ENGINES, key=lambda name: name != engines.fastest())
    classifiers = {name: Classifier(MODEL, engine=engines.ENGINES[name]) for name in names}
    servers: dict[str, list[list[Load]]] = {name: [] for name in SERVERS}
    speeds: dict[str, list[float]] = {name: [] for name in classifiers}
    total = options.rounds * (len(servers) + len(speeds))
    with tempfile.TemporaryDirectory() as name, Progress(desc="measured", total=total) as bar:
        write_scripts(texts, Path(name))
        for _ in range(options.rounds):
            for label, rounds in servers.items():
                rounds.append(measure(label, Path(name), texts[0], options.seconds))
                bar.update()
            for label, classifier in classifiers.items():
                speeds[label].append(engine_speed(classifier, texts, options.seconds))
                bar.update()
    print(f"on {processor()}, {cpus()} CPUs")
    print(f"{'':10}{'connections':>12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}")
    for place, (kind, connections) in enumerate(LOADS):
        for server, rounds in servers.items():
            rate, p50, p99, errors = np.median([each[place] for each in rounds], axis=0)
            label = str(connections) if kind == "single" else f"bulk of {BULK}"
            print(f"{server:10}{label:>12}{rate:12.1f}{p50:9.1f}{p99:9.1f}{errors:8.0f}")
    print(f"\n{'':12}{'tweets/s':>9}{'difference, mean':>18}{'largest':>9}")
    for label, rates in speeds.items():
        off = np.abs(classifiers[label].probabilities(texts) - truth)
        print(f"{label:12}{np.median(rates):9.0f}{off.mean():18.4f}{off.max():9.4f}")

    def ratio(rates: Iterable[float], others: Iterable[float]) -> str:  # of a round's own figures
        return f"{statistics.median(a / b for a, b in zip(rates, others, strict=True)):.2f}x"

    at_64 = {name: [each[AT_64].rate for each in rounds] for name, rounds in servers.items()}
    print(f"\nlogging at 64 connections: {ratio(at_64['logging'], at_64['ours'])} ours")
    for rival in ("replaced", "by hand"):
        print(f"ours at 64 connections: {ratio(at_64['ours'], at_64[rival])} {rival}")
    bulk = [each[-1].rate * BULK for each in servers["ours"]]
    print(f"ours in bulk: {ratio(bulk, next(iter(speeds.values())))} the engine alone")


if __name__ == "__main__":
    main()
